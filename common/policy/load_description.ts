/**
 * What a checkpoint of any origin is, before any weight is read. Nothing here needs tensors, so that a
 * program's main thread can ask.
 * @module
 */

import { join } from "node:path";
import { inspectCheckpoint } from "../checkpoint/checkpoint.ts";
import { CheckpointError, CheckpointMismatch } from "../checkpoint/errors.ts";
import { type CheckpointMetadata, FORMAT_VERSION } from "../checkpoint/metadata.ts";
import { openTensorSource } from "../checkpoint/open_source.ts";
import {
  type LerobotConfig,
  lerobotConfigIfGood,
  readLerobotConfig,
} from "../checkpoint/lerobot_config.ts";
import { type CheckpointOrigin, recognise, type Recognition } from "../checkpoint/recognise.ts";
import type { Config } from "../config/config.ts";
import { TENDON_VERSION } from "../config/version.ts";
import { CAMERA_NAMES } from "../types.ts";

/** What the configuration says of the model: all that is known of one from elsewhere. */
export type WantedModel = Partial<
  Pick<
    Config,
    | "variant"
    | "actionDim"
    | "horizon"
    | "maxTokenLen"
    | "dialect"
    | "actionMode"
    | "adaptToPi"
  >
>;

/** What is known of a checkpoint of another origin before its weights are read. */
export interface ForeignFacts extends Pick<Recognition, "kind" | "notes"> {
  /** Whose it is, if that is known. */
  readonly origin?: CheckpointOrigin;
  /** The variant that has its shapes, if that is known. */
  readonly variant?: Recognition["variant"];
  /** LeRobot's `config.json` beside its weights, if there is one. */
  readonly lerobot?: LerobotConfig;
}

/**
 * Whether a checkpoint is to be read as Tendon's own; a path that is not there is, too.
 *
 * @param dir Its folder or file.
 */
export async function hasMetadata(dir: string): Promise<boolean> {
  try {
    if (!(await Deno.stat(dir)).isDirectory) return false;
  } catch {
    return true; // Tendon's reader says best what is wrong with the path.
  }
  try {
    await Deno.stat(join(dir, "metadata.json"));
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether a variant is another with adapters, so that its checkpoints do once those are drawn.
 *
 * @param wanted Name of the variant that is wanted.
 * @param variant Name of the checkpoint's.
 */
export function isLoraOf(wanted: string, variant: string): boolean {
  return wanted === `${variant}_lora`;
}

/**
 * Look for what lies beside the weights of a checkpoint of another origin.
 *
 * @param path Its folder or file.
 * @param recognition What its tensors tell.
 * @throws {CheckpointError} When a LeRobot checkpoint's `config.json` is damaged, of another policy, or
 *   asks for something that Tendon does not have.
 */
export async function foreignFacts(path: string, recognition: Recognition): Promise<ForeignFacts> {
  const { kind, origin, notes } = recognition;
  if (origin !== "lerobot") return { kind, origin, notes };
  const lerobot = await readLerobotConfig(path);
  const { variant } = recognition;
  return { kind, origin, variant, notes: [...notes, ...lerobotNotes(lerobot)], lerobot };
}

/**
 * What the files beside weights tell that cannot be read.
 *
 * @param dir The checkpoint's folder or file.
 */
export async function unreadableFacts(dir: string): Promise<ForeignFacts> {
  return { kind: "imitation", notes: [], lerobot: await lerobotConfigIfGood(dir) };
}

/** Sentences about what nobody can check. */
function lerobotNotes(config: LerobotConfig | undefined): string[] {
  if (config === undefined) {
    return [
      "this checkpoint has no config.json of LeRobot's beside its weights: unless the flags say " +
      "otherwise, its actions are taken as differences from the state (--action-mode), while " +
      "LeRobot's default is absolute",
    ];
  }
  const { cameras } = config;
  if (cameras.length === 0) return [];
  return [
    `this checkpoint was trained on the cameras ${cameras.join(", ")}: it is shown ` +
    `${CAMERA_NAMES.join(", ")}, in this order` +
    (cameras.length === CAMERA_NAMES.length
      ? ""
      : `, which are ${CAMERA_NAMES.length} and not ${cameras.length}`),
  ];
}

/** A convention that both a flag and the checkpoint's own files name. */
function agreed<T extends string>(
  path: string,
  field: string,
  given: T | "auto" | undefined,
  found: T | undefined,
): T | undefined {
  if (given === undefined || given === "auto") return found;
  if (found === undefined || found === given) return given;
  throw new CheckpointMismatch(
    `Cannot use checkpoint ${path}: its ${field} is ${found}, the configuration says ${given}; ` +
      "set the flags to match, or choose another checkpoint.",
  );
}

/**
 * What is known of a checkpoint that has no metadata of Tendon's. Nothing in it is `auto` any more.
 *
 * @param path Its folder or file.
 * @param facts What its tensors and the files beside them tell.
 * @param wanted The model: variant, action dimension, horizon and length, which must be given unless
 *   LeRobot's `config.json` lies beside the weights. A dialect that is given wins over whose the checkpoint is.
 * @throws {CheckpointError} When they are not, or `wanted` names another action mode than the files.
 */
export function foreignMetadata(
  path: string,
  { kind, notes, origin, lerobot, variant: found = "unknown" }: ForeignFacts,
  wanted: WantedModel,
): CheckpointMetadata {
  const { adaptToPi } = wanted;
  // A folder with LeRobot's configuration describes itself; its network is told by the shapes.
  const variant = lerobot === undefined || found === "unknown" ||
      (wanted.variant !== undefined && isLoraOf(wanted.variant, found))
    ? wanted.variant
    : found;
  const { actionDim, horizon, maxTokenLen } = lerobot ?? wanted;
  const whose = origin === "lerobot" || lerobot !== undefined ? "lerobot" : "openpi";
  const { dialect = "auto" } = wanted;
  const actionMode = agreed(path, "actionMode", wanted.actionMode, lerobot?.actionMode);
  if (!variant || !actionDim || !horizon || !maxTokenLen) {
    throw new CheckpointError(
      `Cannot use ${path}: it has no metadata.json, so the model must be given with --variant, ` +
        "--action-dim, --horizon and --max-token-len.",
    );
  }
  return {
    formatVersion: FORMAT_VERSION,
    kind,
    step: 0,
    policyVersion: 0,
    model: {
      variant,
      actionDim,
      horizon,
      maxTokenLen,
      dialect: dialect === "auto" ? whose : dialect,
      ...(lerobot && { normalization: lerobot.normalization }),
      ...(actionMode && { actionMode }),
      adaptToPi,
    },
    training: {
      task: "",
      updates: 0,
      controlSteps: 0,
      chunks: 0,
      episodes: 0,
      optimizerSteps: 0,
      seed: 0,
      metrics: {},
      config: {},
    },
    tendonVersion: TENDON_VERSION,
    createdAt: new Date(0).toISOString(),
    command: "",
    notes,
    files: {},
  };
}

/**
 * What a checkpoint says of itself: its metadata or, for one from elsewhere, what its tensors tell.
 *
 * @param dir Its folder or file.
 * @param wanted The model to take where the checkpoint does not say.
 * @throws {CheckpointError} When it cannot be read, or the model is not given and not known.
 */
export async function describeCheckpoint(
  dir: string,
  wanted: WantedModel,
): Promise<CheckpointMetadata> {
  if (await hasMetadata(dir)) return await inspectCheckpoint(dir);
  using source = await openTensorSource(dir);
  return foreignMetadata(dir, await foreignFacts(dir, recognise(source)), wanted);
}

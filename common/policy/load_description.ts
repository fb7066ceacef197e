/**
 * What a checkpoint of any origin is, before any weight is read. Nothing here needs tensors, so that a
 * program's main thread can ask.
 * @module
 */

import { join } from "node:path";
import { inspectCheckpoint } from "../checkpoint/checkpoint.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import { type CheckpointMetadata, FORMAT_VERSION } from "../checkpoint/metadata.ts";
import { openTensorSource } from "../checkpoint/open_source.ts";
import { recognise, type Recognition } from "../checkpoint/recognise.ts";
import type { Config } from "../config/config.ts";
import { TENDON_VERSION } from "../config/version.ts";

/** What the configuration says of the model: all that is known of one from elsewhere. */
export type WantedModel = Partial<
  Pick<Config, "variant" | "actionDim" | "horizon" | "maxTokenLen" | "dialect" | "adaptToPi">
>;

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
 * What is known of a checkpoint that has no metadata of Tendon's.
 *
 * @param path Its folder or file.
 * @param recognition What its tensors tell.
 * @param wanted The model; variant, action dimension, horizon and length must be given.
 * @throws {CheckpointError} When they are not.
 */
export function foreignMetadata(
  path: string,
  { kind, notes }: Pick<Recognition, "kind" | "notes">,
  { variant, actionDim, horizon, maxTokenLen, dialect, adaptToPi }: WantedModel,
): CheckpointMetadata {
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
    model: { variant, actionDim, horizon, maxTokenLen, dialect, adaptToPi },
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
  return foreignMetadata(dir, recognise(source), wanted);
}

/**
 * Decides which checkpoint a program starts from, and checks that it fits the configuration.
 * @module
 */

import { fileURLToPath } from "node:url";
import { inspectCheckpoint } from "../checkpoint/checkpoint.ts";
import { CheckpointError, CheckpointMismatch } from "../checkpoint/errors.ts";
import { latestCheckpoint } from "../checkpoint/latest.ts";
import type { CheckpointMetadata } from "../checkpoint/metadata.ts";
import type { Config } from "../config/config.ts";
import { describeCheckpoint, isLoraOf } from "./load_description.ts";

/** What was chosen. */
export interface CheckpointChoice {
  /** Its folder. */
  readonly path: string;
  /** Its metadata. */
  readonly metadata: CheckpointMetadata;
  /** Why this one, such as "resuming". */
  readonly reason: string;
  /** Sentences for people. */
  readonly notes: readonly string[];
}

/** Imitation checkpoints that ship with Tendon, made by `deno task pretrain`. */
export const SHIPPED_CHECKPOINTS: readonly string[] = [
  "reach",
  "reach_debug",
  "transfer_cube",
].map((name) => fileURLToPath(new URL(`../pretrained/${name}`, import.meta.url)));

/** A field of the configuration that a checkpoint's model must equal. */
export type ModelField = "variant" | "actionDim" | "horizon" | "maxTokenLen";

/** The conventions that the policy shall speak; any that the checkpoint has if absent. */
export type ConventionChoice = Partial<Pick<Config, "dialect" | "actionMode" | "adaptToPi">>;

const MODEL_FIELDS: readonly ModelField[] = ["variant", "actionDim", "horizon", "maxTokenLen"];

/**
 * With `--resume` the experiment's newest; else the one of `--checkpoint`; else a shipped one that
 * fits the configuration, of its task if there is one.
 * @throws CheckpointError, one sentence, if there is none or it does not fit.
 */
export async function chooseCheckpoint(
  config:
    & Pick<
      Config,
      "resume" | "checkpoint" | "checkpointDir" | "expName" | ModelField
    >
    & Partial<Pick<Config, "task">>
    & ConventionChoice,
): Promise<CheckpointChoice> {
  if (config.resume) {
    const { path, passedOver } = await latestCheckpoint(config.checkpointDir, config.expName);
    if (!path) {
      throw new CheckpointError(
        `Cannot resume: there is no checkpoint of experiment ${config.expName} in ` +
          `${config.checkpointDir}; leave --resume out to start it.`,
      );
    }
    return check(path, "resuming", passedOver, config);
  }
  if (config.checkpoint !== "") return check(config.checkpoint, "starting from", [], config);
  const shipped: { path: string; metadata: CheckpointMetadata }[] = [];
  for (const path of SHIPPED_CHECKPOINTS) {
    const metadata = await inspectCheckpoint(path);
    if (differences(metadata, config).length === 0) shipped.push({ path, metadata });
  }
  const ofTask = shipped.find(({ metadata }) => metadata.training.task === config.task);
  const found = ofTask ?? shipped.at(0);
  if (found !== undefined) {
    return { ...found, reason: "starting from the shipped imitation policy", notes: [] };
  }
  throw new CheckpointError(
    `No checkpoint ships for ${MODEL_FIELDS.map((f) => `${f} ${config[f]}`).join(", ")}: ` +
      "give one with --checkpoint, or make one with deno task pretrain.",
  );
}

async function check(
  path: string,
  reason: string,
  notes: readonly string[],
  config: Pick<Config, ModelField> & ConventionChoice,
): Promise<CheckpointChoice> {
  const metadata = await describeCheckpoint(path, config);
  const found = differences(metadata, config);
  if (found.length > 0) {
    throw new CheckpointMismatch(
      `Cannot use checkpoint ${path}: its ${found.join(", its ")}; set the flags to match, or ` +
        "choose another checkpoint.",
    );
  }
  return { path, metadata, reason, notes };
}

/** What differs between a checkpoint's model and the configuration, each with both values. */
function differences(
  { model }: CheckpointMetadata,
  config: Pick<Config, ModelField> & ConventionChoice,
): string[] {
  const { dialect: spoken = "openpi" } = model;
  const { dialect: wanted = spoken } = config;
  const found = MODEL_FIELDS
    .filter((field) => model[field] !== config[field])
    // Adapters that a checkpoint lacks are drawn when it is loaded.
    .filter((field) => field !== "variant" || !isLoraOf(config.variant, model.variant))
    .map((field) => `${field} is ${model[field]}, the configuration says ${config[field]}`);
  // A checkpoint that does not say leaves it to the configuration.
  const { adaptToPi = config.adaptToPi } = model;
  if (config.adaptToPi !== undefined && adaptToPi !== config.adaptToPi) {
    found.push(`adaptToPi is ${adaptToPi}, the configuration says ${config.adaptToPi}`);
  }
  const { actionMode = "delta" } = model;
  if (![actionMode, "auto", undefined].includes(config.actionMode)) {
    found.push(`actionMode is ${actionMode}, the configuration says ${config.actionMode}`);
  }
  if (spoken !== wanted && wanted !== "auto") {
    found.push(`dialect is ${spoken}, the configuration says ${wanted}`);
  }
  return found;
}

/**
 * Opens the checkpoint that a script measures: the given one, whatever its model, or a shipped one.
 * @module
 */

import type { CheckpointMetadata } from "../common/checkpoint/metadata.ts";
import { UsageError } from "../common/cli/flags.ts";
import { kebabCase } from "../common/cli/command.ts";
import { type Config, TASKS } from "../common/config/config.ts";
import { parseConfig } from "../common/config/rules.ts";
import { chooseCheckpoint } from "../common/policy/choose_checkpoint.ts";
import { describeCheckpoint } from "../common/policy/load_description.ts";

/** Flags that a checkpoint's own description overrules, so that they must not contradict it. */
const MODEL_FIELDS = [
  "variant",
  "actionDim",
  "horizon",
  "maxTokenLen",
  "dialect",
  "actionMode",
] as const;

/** A checkpoint and the configuration that fits it. */
export interface OpenedCheckpoint {
  /** Its folder. */
  readonly path: string;
  /** Its metadata. */
  readonly metadata: CheckpointMetadata;
  /** The configuration with the checkpoint's model and, unless one was given, its task. */
  readonly config: Config;
}

/**
 * Find a checkpoint and let its metadata decide the model, so that nobody has to repeat its sizes. For
 * one of another origin, which has none, the flags decide.
 *
 * @param config The parsed configuration; an empty `checkpoint` asks for a shipped one that fits it.
 * @param given Names of the flags that were given, of `parseCommand`.
 * @throws {CheckpointError} If there is no such checkpoint or it cannot be read.
 * @throws {UsageError} If its model does not go with the rest of the configuration.
 */
export async function openCheckpoint(
  config: Config,
  given: ReadonlySet<string>,
): Promise<OpenedCheckpoint> {
  const chosen = config.checkpoint === "" ? await chooseCheckpoint(config) : {
    path: config.checkpoint,
    metadata: await describeCheckpoint(config.checkpoint, config),
  };
  const { variant, actionDim, horizon, maxTokenLen, dialect = "openpi", actionMode = "delta" } =
    chosen.metadata.model;
  const model = { variant, actionDim, horizon, maxTokenLen, dialect, actionMode };
  for (const field of MODEL_FIELDS) {
    const wanted = config[field];
    if (!given.has(field) || wanted === "auto" || wanted === model[field]) continue;
    throw new UsageError(
      `Cannot use --${kebabCase(field)} ${wanted} with ${chosen.path}: the checkpoint says ` +
        `${model[field]}; leave the flag out, or choose another checkpoint.`,
    );
  }
  const practised = TASKS.find((task) => task === chosen.metadata.training.task);
  const task = given.has("task") ? config.task : practised ?? config.task;
  try {
    const fitted = parseConfig(
      { ...config, task, ...model },
      (field) => `--${kebabCase(field)}`,
    );
    return { path: chosen.path, metadata: chosen.metadata, config: fitted };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`With the model of ${chosen.path}: ${error.message}`, { cause: error });
  }
}

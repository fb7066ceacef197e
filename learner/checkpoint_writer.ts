/**
 * Writes a run's checkpoints.
 * @module
 */

import { checkpointPath, writeCheckpoint } from "../common/checkpoint/checkpoint.ts";
import type { Initialization, ModelMetadata } from "../common/checkpoint/metadata.ts";
import type { Config } from "../common/config/config.ts";
import { TENDON_VERSION } from "../common/config/version.ts";
import { readAssetFiles, splitWeights } from "../common/policy/load.ts";
import type { HostTensor } from "../common/types.ts";
import { type CollectionState, encodeTrainState } from "./train_state.ts";
import type { VersionJump } from "./policy_versions.ts";
import type { Trainer } from "./trainer.ts";
import type { Progress, UpdateRecord } from "./train_loop.ts";

/** What a {@link CheckpointWriter} needs. */
export interface CheckpointWriterOptions {
  /** The configuration. */
  readonly config: Config;
  /** How the program was started. */
  readonly command: string;
  /** The model. */
  readonly model: ModelMetadata;
  /** Folder of the checkpoint that the run began with; its tokenizers are carried on. */
  readonly startedFrom: string;
  /** How the run began. */
  readonly initialization: Initialization;
  /** Sentences for whoever loads a checkpoint of the run. */
  readonly notes: readonly string[];
  /** Tells the optimiser's state. */
  readonly trainer: Pick<Trainer, "optimizer">;
  /** Folder of the imitation policy that the KL is to; empty where there is none. */
  readonly anchor: string;
  /** Versions that earlier lives of the run have lost. */
  readonly versionJumps: readonly VersionJump[];
  /** Measurements that stand in a checkpoint before the first update: those that the run resumed with. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Tells what has been collected and not been trained on. */
  readonly collection: () => CollectionState;
}

/**
 * Writes actor-critic checkpoints with all that a run needs to go on from them: the optimiser, the state
 * of whatever adapts, and the chunks that were acknowledged and wait, which no controller sends again.
 */
export class CheckpointWriter {
  /** Folder of the last one; null before the first. */
  lastPath: string | null = null;
  readonly #options: CheckpointWriterOptions;

  /**
   * Nothing is written yet.
   * @param options What it needs.
   */
  constructor(options: CheckpointWriterOptions) {
    this.#options = options;
  }

  /**
   * Write `<checkpoint-dir>/<exp>/step_<updates>`.
   * @param record The latest update; null before the first of this life.
   * @param weights All weights under prefixed names.
   * @returns Its folder.
   */
  async write(
    progress: Progress,
    record: UpdateRecord | null,
    weights: readonly HostTensor[],
  ): Promise<string> {
    const { config, command, model, startedFrom, initialization, notes, trainer, metrics } =
      this.#options;
    // As it is now: what comes in while files are written belongs to the next checkpoint.
    const collection = this.#options.collection();
    const path = checkpointPath(config.checkpointDir, config.expName, progress.updates);
    const optimizer = await trainer.optimizer();
    await writeCheckpoint(path, {
      info: {
        kind: "actor_critic",
        step: progress.updates,
        policyVersion: progress.policyVersion,
        model,
        training: {
          task: config.task,
          updates: progress.updates,
          controlSteps: progress.controlSteps,
          chunks: progress.chunksTrained,
          episodes: progress.episodes,
          optimizerSteps: optimizer.steps,
          seed: config.seed,
          metrics: record ? finiteNumbers(record) : metrics,
          config: { ...config },
        },
        tendonVersion: TENDON_VERSION,
        createdAt: new Date().toISOString(),
        command,
        initialization,
        notes,
      },
      ...splitWeights(weights),
      optimizer: optimizer.tensors,
      trainState: await encodeTrainState({
        ...collection,
        trainer: optimizer.state,
        anchor: this.#options.anchor,
        versionJumps: this.#options.versionJumps,
      }),
      assets: await readAssetFiles(startedFrom),
    });
    this.lastPath = path;
    return path;
  }
}

function finiteNumbers(record: UpdateRecord): Record<string, number> {
  return Object.fromEntries(
    Object.entries(record).filter(([, value]) => Number.isFinite(value)),
  ) as Record<string, number>;
}

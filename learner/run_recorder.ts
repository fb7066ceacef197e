/**
 * Writes down what happens in a run: metrics to JSONL, W&B and Prometheus; runs, episodes and
 * checkpoints to the database. Trouble here is a warning and never stops training.
 * @module
 */

import { join } from "node:path";
import type { Config } from "../common/config/config.ts";
import type { Logger } from "../common/types.ts";
import type { FinishedEpisode } from "./episode_log.ts";
import { JsonlSink } from "./metrics/jsonl.ts";
import { combineSinks, type MetricsSink } from "./metrics/sink.ts";
import { createWandbSink } from "./metrics/wandb.ts";
import { LearnerDatabase, type NewEpisode } from "./storage/database.ts";
import type { Progress, UpdateRecord } from "./train_loop.ts";

/** What a {@link RunRecorder} needs. */
export interface RunRecorderOptions {
  /** The configuration. */
  readonly config: Config;
  /** Weights & Biases key; undefined for none. */
  readonly wandbApiKey: string | undefined;
  /** Further sinks, such as Prometheus gauges. */
  readonly sinks: readonly MetricsSink[];
  /** Takes warnings. */
  readonly logger: Logger;
}

/** Records a run. Owner of its sinks and its database. */
export class RunRecorder {
  /** Id of the run, unique. */
  readonly runId = crypto.randomUUID();
  readonly #sink: MetricsSink;
  readonly #database: LearnerDatabase;
  readonly #logger: Logger;
  #episodes: NewEpisode[] = [];

  private constructor(sink: MetricsSink, database: LearnerDatabase, logger: Logger) {
    this.#sink = sink;
    this.#database = database;
    this.#logger = logger;
  }

  /**
   * Open everything and note the start of the run.
   * @throws Error, one sentence, if a file cannot be written.
   */
  static async open(options: RunRecorderOptions): Promise<RunRecorder> {
    const { config, wandbApiKey, sinks, logger } = options;
    const folder = join(config.checkpointDir, config.expName);
    await Deno.mkdir(folder, { recursive: true });
    const wandb = createWandbSink({
      apiKey: wandbApiKey,
      isEnabled: config.wandb,
      project: config.wandbProject,
      name: config.expName,
      config,
      logger,
    });
    const jsonl = new JsonlSink(join(folder, "metrics.jsonl"), { logger });
    const sink = combineSinks([...sinks, jsonl, ...(wandb ? [wandb] : [])], logger);
    const database = new LearnerDatabase(config.databaseUrl || join(folder, "tendon.sqlite"));
    const recorder = new RunRecorder(sink, database, logger);
    const { runId } = recorder;
    await database.startRun({ runId, name: config.expName, config, startedAtMs: Date.now() });
    return recorder;
  }

  /** Note a finished episode; it is written with the next update. */
  episode(episode: FinishedEpisode | undefined): void {
    if (!episode) return;
    this.#episodes.push({ ...episode, runId: this.runId, finishedAtMs: Date.now() });
  }

  /** Note an update, and write the episodes that finished before it. */
  async update(record: UpdateRecord): Promise<void> {
    this.#sink.log(record.update, { ...record });
    const episodes = this.#episodes;
    this.#episodes = [];
    await this.#guard("episodes", () => this.#database.recordEpisodes(episodes));
  }

  /** Note a checkpoint. */
  async checkpoint(path: string, { updates, policyVersion }: Progress): Promise<void> {
    const { runId } = this;
    await this.#guard("a checkpoint", () =>
      this.#database.recordCheckpoint({
        path,
        runId,
        step: updates,
        policyVersion,
        createdAtMs: Date.now(),
      }));
  }

  /**
   * Note the end of the run and close everything.
   * @param outcome In a word: finished, stopped or failed.
   */
  async end(outcome: string): Promise<void> {
    await this.#guard("the end of the run", async () => {
      await this.#database.recordEpisodes(this.#episodes);
      await this.#database.endRun(this.runId, outcome, Date.now());
    });
    await this.#sink.close();
    await this.#guard("what is left", () => this.#database.close());
  }

  async #guard(what: string, write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger.warn(`Cannot write ${what} to the database: ${reason}`);
    }
  }
}

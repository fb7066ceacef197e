/**
 * Writes down what happens in a run: metrics to JSONL, W&B and Prometheus; runs, episodes, updates
 * and checkpoints to the database. Trouble here is a warning and never stops training.
 * @module
 */

import { join } from "node:path";
import type { Config } from "../common/config/config.ts";
import type { Logger } from "../common/types.ts";
import type { FinishedEpisode } from "./episode_log.ts";
import { flattenRecord } from "./metrics/flatten_record.ts";
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

/** Where {@link RunRecorder.open} writes. */
interface Opened {
  readonly sink: MetricsSink;
  readonly database: LearnerDatabase;
}

/** Records a run. Owner of its sinks and its database. */
export class RunRecorder {
  /** Id of the run, unique. */
  readonly runId: string = crypto.randomUUID();
  readonly #options: RunRecorderOptions;
  #opened: Opened | undefined;
  #episodes: NewEpisode[] = [];

  /**
   * Nothing is written before {@link RunRecorder.open}.
   * @param options What it needs.
   */
  constructor(options: RunRecorderOptions) {
    this.#options = options;
  }

  /**
   * Open everything and note the start of the run.
   * @throws Error, one sentence, if a file cannot be written.
   */
  async open(): Promise<void> {
    const { config, wandbApiKey, sinks, logger } = this.#options;
    const folder = join(config.checkpointDir, config.expName);
    await Deno.mkdir(folder, { recursive: true });
    let database: LearnerDatabase | undefined;
    try {
      database = new LearnerDatabase(sqliteUrl(config.databaseUrl, folder));
      const jsonl = new JsonlSink(join(folder, "metrics.jsonl"), { logger });
      const wandb = createWandbSink({
        apiKey: wandbApiKey,
        isEnabled: config.wandb,
        project: config.wandbProject,
        name: config.expName,
        config,
        logger,
      });
      const all = [...sinks, jsonl, ...(wandb ? [wandb] : [])];
      this.#opened = { sink: combineSinks(all, logger), database };
      const { runId } = this;
      await database.startRun({ runId, name: config.expName, config, startedAtMs: Date.now() });
    } catch (error) {
      await this.#opened?.sink.close();
      await database?.close();
      this.#opened = undefined;
      // Without `recursive` only an empty folder goes.
      await Deno.remove(folder).catch(() => {});
      throw error;
    }
  }

  /** Note a finished episode; it is written with the next update. */
  episode(episode: FinishedEpisode | undefined): void {
    if (!episode) return;
    this.#episodes.push({ ...episode, runId: this.runId, finishedAtMs: Date.now() });
  }

  /** Note an update, and write the episodes that finished before it. */
  async update(record: UpdateRecord): Promise<void> {
    this.#opened?.sink.log(record.update, flattenRecord(record));
    const episodes = this.#episodes;
    this.#episodes = [];
    await this.#write("an update", async (database) => {
      await database.recordEpisodes(episodes);
      const { runId } = this;
      await database.recordUpdate({
        ...record,
        runId,
        step: record.update,
        finishedAtMs: Date.now(),
      });
    });
  }

  /** Note a checkpoint. */
  async checkpoint(path: string, { updates, policyVersion }: Progress): Promise<void> {
    const { runId } = this;
    await this.#write("a checkpoint", (database) =>
      database.recordCheckpoint({
        path,
        runId,
        step: updates,
        policyVersion,
        createdAtMs: Date.now(),
      }));
  }

  /**
   * Note the end of the run and close everything. Does nothing if nothing was opened.
   * @param outcome In a word: finished, stopped or failed.
   */
  async end(outcome: string): Promise<void> {
    await this.#write("the end of the run", async (database) => {
      await database.recordEpisodes(this.#episodes);
      await database.endRun(this.runId, outcome, Date.now());
    });
    await this.#opened?.sink.close();
    await this.#write("what is left", (database) => database.close());
    this.#opened = undefined;
  }

  /** Write to the database; trouble is a warning. */
  async #write(what: string, write: (database: LearnerDatabase) => Promise<void>): Promise<void> {
    if (!this.#opened) return;
    try {
      await write(this.#opened.database);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn(`Cannot write ${what} to the database: ${reason}`);
    }
  }
}

/** The configured database, or a file in the experiment's folder. */
function sqliteUrl(configured: string, folder: string): string {
  const url = configured || join(folder, "tendon.sqlite");
  return url.startsWith("sqlite:") ? url : `sqlite:${url}`;
}

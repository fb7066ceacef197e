/**
 * What happened, for asking later: runs, episodes, updates and checkpoints in an SQL database.
 *
 * @module
 */
import { Kysely, SqliteDialect } from "kysely";
import type { CheckpointRow, EpisodeRow, RunRow, Schema, UpdateRow } from "./schema.ts";
import { openSqlite } from "./sqlite.ts";

/** SQLite takes at most 32,766 parameters a statement; an episode has 8. */
const EPISODES_PER_STATEMENT = 1000;

/** A run to record. */
export interface NewRun {
  /** Unique id. */
  readonly runId: string;
  /** The experiment's name. */
  readonly name: string;
  /** Anything that JSON can hold. */
  readonly config: unknown;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
}

/** An episode to record. */
export interface NewEpisode {
  /** Unique over all controllers and restarts; a second one is ignored. */
  readonly episodeId: string;
  /** A run that was recorded. */
  readonly runId: string;
  /** Sum of rewards, whoever gave them. */
  readonly reward: number;
  /** What of it people gave. */
  readonly humanReward: number;
  /** Control steps executed. */
  readonly steps: number;
  /** Whether it met the success condition. */
  readonly isSuccess: boolean;
  /** Version of the weights that sampled its last chunk. */
  readonly policyVersion: number;
  /** Milliseconds since 1970. */
  readonly finishedAtMs: number;
}

/** An update to record. Rewards are means a chunk, before their weights. */
export interface NewUpdate {
  /** A run that was recorded. */
  readonly runId: string;
  /** Its number. */
  readonly step: number;
  /** Version of the weights that it made. */
  readonly policyVersion: number;
  /** Chunks that it trained on. */
  readonly chunks: number;
  /** What the environment gave. */
  readonly rewardEnvironment: number;
  /** What people gave. */
  readonly rewardHuman: number;
  /** What newness earned. */
  readonly rewardIntrinsic: number;
  /** Milliseconds since 1970. */
  readonly finishedAtMs: number;
}

/** A checkpoint to record. */
export interface NewCheckpoint {
  /** Its folder; recording it again replaces the row. */
  readonly path: string;
  /** A run that was recorded. */
  readonly runId: string;
  /** Number of the update after which it was written. */
  readonly step: number;
  /** Policy version that it holds. */
  readonly policyVersion: number;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
}

/** Episodes of a run in one line. */
export interface EpisodeSummary {
  /** How many. */
  readonly episodes: number;
  /** How many met the success condition. */
  readonly successes: number;
  /** Mean sum of rewards; 0 without episodes. */
  readonly meanReward: number;
}

/** The learner's database. */
export class LearnerDatabase {
  readonly #db: Kysely<Schema>;

  /**
   * Open a database.
   * @param url `sqlite:<path>` or `sqlite::memory:`.
   * @throws {RangeError} If the URL names another kind of database.
   * @throws {Error} If it cannot be opened.
   */
  constructor(url: string) {
    this.#db = new Kysely<Schema>({
      dialect: new SqliteDialect({ database: openSqlite(pathOf(url)) }),
    });
  }

  /**
   * Record that a run started.
   * @param run The run.
   * @throws {Error} If its id was recorded before.
   */
  async startRun(run: NewRun): Promise<void> {
    await this.#db.insertInto("runs").values({
      run_id: run.runId,
      name: run.name,
      config: JSON.stringify(run.config ?? null),
      started_at: run.startedAtMs,
      ended_at: null,
      outcome: null,
    }).execute();
  }

  /**
   * Record how a run ended.
   * @param runId The run.
   * @param outcome Such as `finished`, `stopped` or `failed`.
   * @param endedAtMs Milliseconds since 1970.
   * @throws {RangeError} If the run was not recorded.
   */
  async endRun(runId: string, outcome: string, endedAtMs: number): Promise<void> {
    const { numUpdatedRows } = await this.#db.updateTable("runs")
      .set({ outcome, ended_at: endedAtMs })
      .where("run_id", "=", runId)
      .executeTakeFirst();
    if (numUpdatedRows === 0n) {
      throw new RangeError(`Cannot end run ${JSON.stringify(runId)}: it was never started`);
    }
  }

  /**
   * Record episodes; those that were recorded before stay as they are.
   * @param episodes Any number of them. Up to 1000 are written in one statement, all or none.
   * @throws {Error} If a run was not recorded.
   */
  async recordEpisodes(episodes: readonly NewEpisode[]): Promise<void> {
    for (let from = 0; from < episodes.length; from += EPISODES_PER_STATEMENT) {
      const rows = episodes.slice(from, from + EPISODES_PER_STATEMENT).map((episode) => ({
        episode_id: episode.episodeId,
        run_id: episode.runId,
        reward: episode.reward,
        human_reward: episode.humanReward,
        steps: episode.steps,
        is_success: episode.isSuccess ? 1 : 0,
        policy_version: episode.policyVersion,
        finished_at: episode.finishedAtMs,
      }));
      await this.#db.insertInto("episodes").values(rows)
        .onConflict((conflict) => conflict.column("episode_id").doNothing())
        .execute();
    }
  }

  /**
   * Record an update.
   * @param update The update.
   * @throws {Error} If its run was not recorded, or the run has recorded an update of its number.
   */
  async recordUpdate(update: NewUpdate): Promise<void> {
    await this.#db.insertInto("updates").values({
      run_id: update.runId,
      step: update.step,
      policy_version: update.policyVersion,
      chunks: update.chunks,
      reward_environment: update.rewardEnvironment,
      reward_human: update.rewardHuman,
      reward_intrinsic: update.rewardIntrinsic,
      finished_at: update.finishedAtMs,
    }).execute();
  }

  /**
   * Record a checkpoint once it is complete on disk.
   * @param checkpoint The checkpoint.
   * @throws {Error} If its run was not recorded.
   */
  async recordCheckpoint(checkpoint: NewCheckpoint): Promise<void> {
    const row = {
      run_id: checkpoint.runId,
      step: checkpoint.step,
      policy_version: checkpoint.policyVersion,
      created_at: checkpoint.createdAtMs,
    };
    await this.#db.insertInto("checkpoints").values({ path: checkpoint.path, ...row })
      .onConflict((conflict) => conflict.column("path").doUpdateSet(row))
      .execute();
  }

  /** All runs, the latest first. */
  runs(): Promise<RunRow[]> {
    return this.#db.selectFrom("runs").selectAll().orderBy("started_at", "desc").execute();
  }

  /**
   * Episodes of a run, the latest first.
   * @param runId The run.
   * @param limit Rows at most; default 100.
   */
  episodes(runId: string, limit: number = 100): Promise<EpisodeRow[]> {
    return this.#db.selectFrom("episodes").selectAll().where("run_id", "=", runId)
      .orderBy("finished_at", "desc").limit(limit).execute();
  }

  /**
   * Episodes of a run in one line.
   * @param runId The run.
   */
  async summarizeEpisodes(runId: string): Promise<EpisodeSummary> {
    const row = await this.#db.selectFrom("episodes").where("run_id", "=", runId)
      .select(({ fn }) => [
        fn.countAll<number>().as("episodes"),
        fn.sum<number | null>("is_success").as("successes"),
        fn.avg<number | null>("reward").as("meanReward"),
      ]).executeTakeFirstOrThrow();
    return {
      episodes: row.episodes,
      successes: row.successes ?? 0,
      meanReward: row.meanReward ?? 0,
    };
  }

  /**
   * Updates of a run, the latest first.
   * @param runId The run.
   * @param limit Rows at most; default 100.
   */
  updates(runId: string, limit: number = 100): Promise<UpdateRow[]> {
    return this.#db.selectFrom("updates").selectAll().where("run_id", "=", runId)
      .orderBy("step", "desc").limit(limit).execute();
  }

  /**
   * Checkpoints of a run, the latest first.
   * @param runId The run.
   */
  checkpoints(runId: string): Promise<CheckpointRow[]> {
    return this.#db.selectFrom("checkpoints").selectAll().where("run_id", "=", runId)
      .orderBy("step", "desc").execute();
  }

  /** Close the database. */
  async close(): Promise<void> {
    // Kysely closes only what it has used: a query makes it own a database that nobody asked yet.
    await this.#db.selectFrom("runs").select("run_id").limit(1).execute();
    await this.#db.destroy();
  }
}

function pathOf(url: string): string {
  if (url.startsWith("sqlite:") && url.length > "sqlite:".length) {
    return url.slice("sqlite:".length);
  }
  if (/^postgres(ql)?:/.test(url)) {
    // Not repeated in full: such URLs hold passwords.
    throw new RangeError(
      "Cannot open a Postgres database: only SQLite is embedded for now; pass sqlite:<path>",
    );
  }
  throw new RangeError(
    `Cannot open the database ${JSON.stringify(url.slice(0, 80))}: it must be sqlite:<path> or ` +
      "sqlite::memory:",
  );
}

/**
 * Tables of the learner's database. Times are milliseconds since 1970; booleans are 0 or 1.
 *
 * @module
 */

/** One start of the learner. */
export interface RunRow {
  /** Unique id. */
  run_id: string;
  /** The experiment's name; several runs may share it. */
  name: string;
  /** The whole configuration as JSON. */
  config: string;
  /** When it started. */
  started_at: number;
  /** When it ended; null while it runs or if it was killed. */
  ended_at: number | null;
  /** How it ended, such as `finished`, `stopped` or `failed`; null as above. */
  outcome: string | null;
}

/** One episode that a controller finished. */
export interface EpisodeRow {
  /** Unique over all controllers and restarts. */
  episode_id: string;
  /** The run that trained on it. */
  run_id: string;
  /** Sum of rewards, whoever gave them. */
  reward: number;
  /** What of it people gave. */
  human_reward: number;
  /** Control steps executed. */
  steps: number;
  /** Whether it met the success condition. */
  is_success: number;
  /** Version of the weights that sampled its last chunk. */
  policy_version: number;
  /** When its last chunk arrived. */
  finished_at: number;
}

/** One update of the policy. Rewards are means a chunk, before their weights. */
export interface UpdateRow {
  /** The run that made it. */
  run_id: string;
  /** Its number. */
  step: number;
  /** Version of the weights that it made. */
  policy_version: number;
  /** Chunks that it trained on. */
  chunks: number;
  /** What the environment gave. */
  reward_environment: number;
  /** What people gave. */
  reward_human: number;
  /** What newness earned. */
  reward_intrinsic: number;
  /** When it was done. */
  finished_at: number;
}

/** One checkpoint on disk. */
export interface CheckpointRow {
  /** Its folder. */
  path: string;
  /** The run that wrote it. */
  run_id: string;
  /** Number of the update after which it was written. */
  step: number;
  /** Policy version that it holds. */
  policy_version: number;
  /** When it was complete. */
  created_at: number;
}

/** The tables by name. */
export interface Schema {
  /** Starts of the learner. */
  runs: RunRow;
  /** Episodes. */
  episodes: EpisodeRow;
  /** Updates. */
  updates: UpdateRow;
  /** Checkpoints. */
  checkpoints: CheckpointRow;
}

/**
 * SQL that takes a database from version i to i + 1; SQLite keeps the version in `user_version`.
 * Entries are never changed once released, only added.
 */
export const MIGRATIONS: readonly string[] = [
  `CREATE TABLE runs (
     run_id TEXT PRIMARY KEY,
     name TEXT NOT NULL,
     config TEXT NOT NULL CHECK (json_valid(config)),
     started_at INTEGER NOT NULL,
     ended_at INTEGER,
     outcome TEXT
   ) STRICT;
   CREATE TABLE episodes (
     episode_id TEXT PRIMARY KEY,
     run_id TEXT NOT NULL REFERENCES runs (run_id),
     reward REAL NOT NULL,
     steps INTEGER NOT NULL,
     is_success INTEGER NOT NULL CHECK (is_success IN (0, 1)),
     policy_version INTEGER NOT NULL,
     finished_at INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX episodes_by_run ON episodes (run_id, finished_at);
   CREATE TABLE checkpoints (
     path TEXT PRIMARY KEY,
     run_id TEXT NOT NULL REFERENCES runs (run_id),
     step INTEGER NOT NULL,
     policy_version INTEGER NOT NULL,
     created_at INTEGER NOT NULL
   ) STRICT;
   CREATE INDEX checkpoints_by_run ON checkpoints (run_id, step);`,
  `ALTER TABLE episodes ADD COLUMN human_reward REAL NOT NULL DEFAULT 0;
   CREATE TABLE updates (
     run_id TEXT NOT NULL REFERENCES runs (run_id),
     step INTEGER NOT NULL,
     policy_version INTEGER NOT NULL,
     chunks INTEGER NOT NULL,
     reward_environment REAL NOT NULL,
     reward_human REAL NOT NULL,
     reward_intrinsic REAL NOT NULL,
     finished_at INTEGER NOT NULL,
     PRIMARY KEY (run_id, step)
   ) STRICT;`,
];

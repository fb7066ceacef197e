/**
 * Adds chunks up to episodes, for people and for the database.
 * @module
 */

import { type ChunkEnd, endOf, endsEpisode } from "../common/chunk_end.ts";
import type { ChunkTransition } from "../common/types.ts";

/** A finished episode. */
export interface FinishedEpisode {
  /** Its id. */
  readonly episodeId: string;
  /** Sum of its rewards, whoever gave them. */
  readonly reward: number;
  /** What of it people gave. */
  readonly humanReward: number;
  /** Control steps executed, whoever drove. */
  readonly steps: number;
  /** Those that a person drove. */
  readonly humanSteps: number;
  /** How it ended; never that it goes on. */
  readonly end: ChunkEnd;
  /** The success condition was met. */
  readonly isSuccess: boolean;
  /** Version of the weights of its last chunk. */
  readonly policyVersion: number;
}

/** What has added up of an episode in progress. */
export type EpisodeSums = Pick<FinishedEpisode, "reward" | "humanReward" | "steps" | "humanSteps">;

/** Most episodes in progress that are remembered; a controller that died leaves its own behind. */
const MAX_OPEN_EPISODES = 10_000;

/** Adds chunks up to episodes. */
export class EpisodeLog {
  readonly #open: Map<string, EpisodeSums>;
  #finished: FinishedEpisode[];
  #total: number;

  /**
   * Nothing is in progress, or what was when the run stopped.
   * @param total Episodes that earlier runs of the experiment finished.
   * @param open Episodes in progress.
   * @param finished Episodes that nobody has taken yet; they are in the total.
   */
  constructor(
    total: number = 0,
    open: Iterable<readonly [string, EpisodeSums]> = [],
    finished: Iterable<FinishedEpisode> = [],
  ) {
    this.#total = total;
    this.#open = new Map(open);
    this.#finished = [...finished];
  }

  /** Episodes in progress, by id. */
  get open(): readonly (readonly [string, EpisodeSums])[] {
    return [...this.#open];
  }

  /** Episodes that have finished since {@link EpisodeLog.takeFinished}. */
  get finished(): readonly FinishedEpisode[] {
    return [...this.#finished];
  }

  /** Episodes finished so far. */
  get total(): number {
    return this.#total;
  }

  /**
   * Count a chunk.
   * @returns The episode, if the chunk ended it.
   */
  add(chunk: ChunkTransition): FinishedEpisode | undefined {
    const { episodeId } = chunk;
    const before = this.#open.get(episodeId) ??
      { reward: 0, humanReward: 0, steps: 0, humanSteps: 0 };
    const sum: EpisodeSums = {
      reward: before.reward + chunk.reward,
      humanReward: before.humanReward + chunk.humanRewards.reduce((total, one) => total + one, 0),
      steps: before.steps + chunk.stepsExecuted,
      humanSteps: before.humanSteps + (chunk.driver === "person" ? chunk.stepsExecuted : 0),
    };
    if (!endsEpisode(chunk)) {
      this.#open.set(episodeId, sum);
      if (this.#open.size > MAX_OPEN_EPISODES) this.#open.delete(this.#open.keys().next().value!);
      return undefined;
    }
    this.#open.delete(episodeId);
    const { isSuccess, policyVersion } = chunk;
    const episode = { episodeId, ...sum, end: endOf(chunk), isSuccess, policyVersion };
    this.#finished.push(episode);
    this.#total++;
    return episode;
  }

  /** The episodes that have finished since the last call. */
  takeFinished(): FinishedEpisode[] {
    const finished = this.#finished;
    this.#finished = [];
    return finished;
  }
}

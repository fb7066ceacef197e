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

/** What adds up. */
interface Sums {
  reward: number;
  humanReward: number;
  steps: number;
  humanSteps: number;
}

/** Most episodes in progress that are remembered; a controller that died leaves its own behind. */
const MAX_OPEN_EPISODES = 10_000;

/** Adds chunks up to episodes. */
export class EpisodeLog {
  readonly #open = new Map<string, Sums>();
  #finished: FinishedEpisode[] = [];
  #total: number;

  /**
   * Nothing is in progress yet.
   * @param total Episodes that earlier runs of the experiment finished.
   */
  constructor(total: number = 0) {
    this.#total = total;
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
    const sum = this.#open.get(episodeId) ??
      { reward: 0, humanReward: 0, steps: 0, humanSteps: 0 };
    sum.reward += chunk.reward;
    sum.humanReward += chunk.humanRewards.reduce((total, one) => total + one, 0);
    sum.steps += chunk.stepsExecuted;
    if (chunk.driver === "person") sum.humanSteps += chunk.stepsExecuted;
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

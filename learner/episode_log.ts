/**
 * Adds chunks up to episodes, for people and for the database.
 * @module
 */

import type { ChunkTransition } from "../common/types.ts";

/** A finished episode. */
export interface FinishedEpisode {
  /** Its id. */
  readonly episodeId: string;
  /** Sum of its rewards. */
  readonly reward: number;
  /** Control steps executed. */
  readonly steps: number;
  /** The success condition was met. */
  readonly isSuccess: boolean;
  /** Version of the weights of its last chunk. */
  readonly policyVersion: number;
}

/** Most episodes in progress that are remembered; a controller that died leaves its own behind. */
const MAX_OPEN_EPISODES = 10_000;

/** Adds chunks up to episodes. */
export class EpisodeLog {
  readonly #open = new Map<string, { reward: number; steps: number }>();
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
    const sum = this.#open.get(episodeId) ?? { reward: 0, steps: 0 };
    sum.reward += chunk.reward;
    sum.steps += chunk.stepsExecuted;
    if (!chunk.isTerminal && !chunk.isTruncated) {
      this.#open.set(episodeId, sum);
      if (this.#open.size > MAX_OPEN_EPISODES) this.#open.delete(this.#open.keys().next().value!);
      return undefined;
    }
    this.#open.delete(episodeId);
    const { isSuccess, policyVersion } = chunk;
    const episode = { episodeId, ...sum, isSuccess, policyVersion };
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

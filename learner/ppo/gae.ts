/**
 * Generalised advantage estimation over chunks (Schulman et al., 2016): one reward, one value and
 * one discount a chunk.
 *
 * @module
 */

import type { ChunkTransition } from "../../common/types.ts";

/** A transition with what PPO needs to know about its outcome. */
export interface Estimate {
  /** The transition. */
  readonly transition: ChunkTransition;
  /** How much better the chunk was than the critic expected, in units of reward. */
  readonly advantage: number;
  /** What the critic should have said: advantage + value. */
  readonly valueTarget: number;
}

/**
 * Estimate advantages along one episode's consecutive chunks.
 *
 * δ_t = r_t + γ·V(s_{t+1}) − V(s_t) and A_t = δ_t + γλ·A_{t+1}. After a terminal chunk V is 0; after
 * a truncated one it is the value of the final observation; after the last chunk at hand of an
 * episode that goes on it is `nextValue`.
 *
 * @param chunks Consecutive chunks of one episode, in order; not empty.
 * @param options.gamma Discount a chunk, in [0, 1].
 * @param options.lambda λ a chunk, in [0, 1].
 * @param options.nextValue Value of the observation after the last chunk, if the episode goes on.
 * @returns One estimate a chunk, in order.
 * @throws RangeError if an episode goes on and `nextValue` is missing, or chunks are not consecutive.
 */
export function computeGae(
  chunks: readonly ChunkTransition[],
  options: { readonly gamma: number; readonly lambda: number; readonly nextValue?: number },
): Estimate[] {
  const { gamma, lambda } = options;
  const out = new Array<Estimate>(chunks.length);
  let nextAdvantage = 0;
  for (let t = chunks.length - 1; t >= 0; t--) {
    const transition = chunks[t];
    const { reward, value } = transition;
    const following = chunks[t + 1];
    const hasEnded = transition.isTerminal || transition.isTruncated;
    if (following && following.chunkIndex !== transition.chunkIndex + 1) {
      throw new RangeError(
        `Cannot estimate advantages: chunk ${following.chunkIndex} of episode ` +
          `${transition.episodeId} follows chunk ${transition.chunkIndex}`,
      );
    }
    if (hasEnded) nextAdvantage = 0;
    const delta = reward + gamma * valueAfter(transition, following, options.nextValue) - value;
    nextAdvantage = delta + gamma * lambda * nextAdvantage;
    out[t] = { transition, advantage: nextAdvantage, valueTarget: nextAdvantage + value };
  }
  return out;
}

/** The critic's value of what came after a chunk. */
function valueAfter(
  chunk: ChunkTransition,
  following: ChunkTransition | undefined,
  nextValue: number | undefined,
): number {
  if (chunk.isTerminal) return 0;
  if (chunk.isTruncated) return chunk.finalValue;
  const value = following?.value ?? nextValue;
  if (value === undefined) {
    throw new RangeError(
      `Cannot estimate advantages: episode ${chunk.episodeId} goes on after chunk ` +
        `${chunk.chunkIndex}, but no value of what follows was given`,
    );
  }
  return value;
}

/**
 * Shift and scale advantages to mean 0 and standard deviation 1.
 * @returns A new list; one chunk alone, or equal ones, become 0.
 */
export function normalizeAdvantages(estimates: readonly Estimate[]): Estimate[] {
  const mean = estimates.reduce((sum, e) => sum + e.advantage, 0) / estimates.length;
  const variance = estimates.reduce((sum, e) => sum + (e.advantage - mean) ** 2, 0) /
    estimates.length;
  const scale = 1 / (Math.sqrt(variance) + 1e-8);
  return estimates.map((e) => ({ ...e, advantage: (e.advantage - mean) * scale }));
}

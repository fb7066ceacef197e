/**
 * Generalised advantage estimation over chunks (Schulman et al., 2016): one reward, one value and
 * one advantage a chunk.
 *
 * @module
 */

import { endsEpisode } from "../../common/chunk_end.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { discountChunk, type Discounting } from "./chunk_reward.ts";
import { isPolicyDriven, valueAfter } from "./value_after.ts";

/** A transition with what PPO needs to know about its outcome. */
export interface Estimate {
  /** The transition. */
  readonly transition: ChunkTransition;
  /**
   * How much better the chunk was than the critic expected, in units of reward. 0 for a person's
   * chunk, which says nothing about the policy's choices.
   */
  readonly advantage: number;
  /** What the critic should have said: its λ-return. */
  readonly valueTarget: number;
}

/** How advantages are estimated. */
export interface GaeOptions {
  /** γ in [0, 1], a control step or a chunk as `discounting` says. */
  readonly gamma: number;
  /** λ a chunk, in [0, 1]. */
  readonly lambda: number;
  /** What γ is the discount of; a chunk if absent. */
  readonly discounting?: Discounting;
  /** Value of the observation after the last chunk, if the episode goes on. */
  readonly nextValue?: number;
}

/**
 * Estimate advantages along one episode's consecutive chunks.
 *
 * δ_t = R_t + Γ_t·V(s_{t+1}) − V(s_t) and A_t = δ_t + Γ_t·λ·A_{t+1}, with the chunk's reward R and
 * discount Γ of {@link discountChunk}. What V(s_{t+1}) is after each kind of end is in
 * {@link valueAfter}'s module. A_{t+1} is 0 where the episode or the chunks at hand end, and where a
 * person takes over: what the person earned is no merit of the policy's last chunk.
 *
 * A person's chunks get value targets along the same recursion, which goes on into the chunks of the
 * policy that gets the robot back, and no advantage.
 *
 * @param chunks Consecutive chunks of one episode, in order.
 * @returns One estimate a chunk, in order.
 * @throws RangeError if an episode goes on and `nextValue` is missing, chunks are not consecutive or
 *   not of one episode, or rewards or values cannot be.
 */
export function computeGae(chunks: readonly ChunkTransition[], options: GaeOptions): Estimate[] {
  const { gamma, lambda, nextValue, discounting = "chunk" } = options;
  const out = new Array<Estimate>(chunks.length);
  let nextAdvantage = 0;
  for (let t = chunks.length - 1; t >= 0; t--) {
    const transition = chunks[t];
    const following = chunks[t + 1];
    if (following) checkOrder(transition, following);
    const { value } = transition;
    const { reward, discount } = discountChunk(transition, { gamma, discounting });
    const isDriven = isPolicyDriven(transition);
    const isTakenOver = following !== undefined && isDriven && !isPolicyDriven(following);
    if (endsEpisode(transition) || isTakenOver) nextAdvantage = 0;
    const delta = reward + discount * valueAfter(transition, following, nextValue) - value;
    nextAdvantage = delta + discount * lambda * nextAdvantage;
    out[t] = {
      transition,
      advantage: isDriven ? nextAdvantage : 0,
      valueTarget: nextAdvantage + value,
    };
  }
  return out;
}

/** Throws unless a chunk comes right after another one of its episode. */
function checkOrder(chunk: ChunkTransition, following: ChunkTransition): void {
  if (following.episodeId !== chunk.episodeId) {
    throw new RangeError(
      `Cannot estimate advantages: a chunk of episode ${following.episodeId} follows one of ` +
        `${chunk.episodeId}; give each episode on its own`,
    );
  }
  if (following.chunkIndex !== chunk.chunkIndex + 1) {
    throw new RangeError(
      `Cannot estimate advantages: chunk ${following.chunkIndex} of episode ` +
        `${chunk.episodeId} follows chunk ${chunk.chunkIndex}`,
    );
  }
}

/**
 * Shift and scale advantages to mean 0 and standard deviation 1, over those that the policy is trained
 * on.
 * @param isCounted Which ones those are; those that the policy drove if absent.
 * @returns A new list. One chunk alone, or equal ones, become 0, and so do those that do not count.
 */
export function normalizeAdvantages(
  estimates: readonly Estimate[],
  isCounted: (estimate: Estimate) => boolean = ({ transition }) => isPolicyDriven(transition),
): Estimate[] {
  const counted = estimates.filter(isCounted);
  const mean = counted.reduce((sum, e) => sum + e.advantage, 0) / counted.length;
  const variance = counted.reduce((sum, e) => sum + (e.advantage - mean) ** 2, 0) /
    counted.length;
  const scale = 1 / (Math.sqrt(variance) + 1e-8);
  return estimates.map((e) => ({
    ...e,
    advantage: isCounted(e) ? (e.advantage - mean) * scale : 0,
  }));
}

/**
 * From collected chunks to what an update trains on: one reward of several, then advantages and value
 * targets.
 *
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { Observation } from "../common/types.ts";
import type { Segment } from "./chunk_buffer.ts";
import { computeGae, type Estimate } from "./ppo/gae.ts";
import { type BySource, meanBySource, mixRewards, splitRewards } from "./ppo/reward_mix.ts";

/** Settings that decide. */
export type EstimateOptions = Pick<
  Config,
  | "gamma"
  | "gaeLambda"
  | "discounting"
  | "environmentRewardWeight"
  | "humanRewardWeight"
  | "intrinsicRewardWeight"
>;

/** Chunks with advantages, and what their rewards are made of. */
export interface Estimates {
  /** In the order of the segments. */
  readonly estimates: readonly Estimate[];
  /** Mean of each source's rewards over the chunks, before weights. */
  readonly rewards: BySource;
}

/** Tells how new observations are, and learns them: one number of at least 0 an observation. */
export type RateNewness = (observations: readonly Observation[]) => Promise<Float32Array>;

/**
 * Mix rewards and estimate advantages.
 * @param segments Consecutive chunks of episodes.
 * @param config Settings.
 * @param rate Rates observations; needed where intrinsic rewards have a weight.
 */
export async function estimateSegments(
  segments: readonly Segment[],
  config: EstimateOptions,
  rate?: RateNewness,
): Promise<Estimates> {
  const weights = {
    environment: config.environmentRewardWeight,
    human: config.humanRewardWeight,
    intrinsic: config.intrinsicRewardWeight,
  };
  const newness = weights.intrinsic > 0 && rate ? await rateSegments(segments, rate) : undefined;
  // What people and the environment gave is in the chunk's own sum already, in full precision.
  const isPlain = weights.environment === 1 && weights.human === 1 && !newness;
  const { gamma, gaeLambda: lambda, discounting } = config;
  const sums: { sums: BySource }[] = [];
  const estimates = segments.flatMap(({ chunks, nextValue }, s) => {
    const mixed = chunks.map((chunk, t) => {
      const parts = splitRewards(chunk.stepRewards, chunk.humanRewards);
      const mix = mixRewards({ ...parts, intrinsic: newness?.[s][t] }, weights);
      sums.push(mix);
      if (isPlain) return chunk;
      return { ...chunk, stepRewards: mix.stepRewards, reward: mix.total };
    });
    return computeGae(mixed, { gamma, lambda, discounting, nextValue });
  });
  return { estimates, rewards: meanBySource(sums) };
}

/**
 * Newness of the observation that each chunk began with. Where an episode ends nobody records what is
 * seen; so that every chunk is rated, and once, it is the one before a chunk and not the one after it.
 */
async function rateSegments(
  segments: readonly Segment[],
  rate: RateNewness,
): Promise<readonly (readonly number[])[]> {
  const rated = await rate(
    segments.flatMap(({ chunks }) => chunks.map(({ observation }) => observation)),
  );
  let next = 0;
  return segments.map(({ chunks }) => chunks.map(() => rated[next++]));
}

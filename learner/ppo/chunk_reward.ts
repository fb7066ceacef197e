/**
 * What a chunk of h control steps is worth: its reward discounted inside it, and how much what follows
 * it is discounted.
 *
 * A chunk is an option that runs for h steps, so its decision problem is semi-Markov (Sutton, Precup
 * and Singh, "Between MDPs and semi-MDPs", 1999): R = Σ_{i<h} γ^i r_i, and the value of what follows is
 * multiplied by γ^h.
 *
 * @module
 */

import type { Discounting } from "../../common/config/ppo_config.ts";

export type { Discounting } from "../../common/config/ppo_config.ts";

/** The rewards of a chunk. */
export interface ChunkReward {
  /** Sum of the rewards of the executed steps. */
  readonly reward: number;
  /** Control steps truly executed, h ≥ 1. */
  readonly stepsExecuted: number;
  /** Reward of each executed step `[h]`, where it is known. By step it decides alone then. */
  readonly stepRewards?: Float32Array;
}

/** A chunk as one decision of a semi-Markov problem. */
export interface DiscountedChunk {
  /** R: its reward, as seen from its first step. */
  readonly reward: number;
  /** What the value of the observation after it is multiplied by. */
  readonly discount: number;
}

/**
 * Discount a chunk.
 *
 * `"step"`: R = Σ_{i<h} γ^i r_i and discount γ^h. Where only the sum of rewards is known it is taken as
 * spread evenly over the steps, R = (Σ r_i) · (1 + γ + … + γ^{h−1}) / h. That is exact for a constant
 * reward, and off by at most (1 − γ^{h−1}) · Σ|r_i| whenever the rewards came.
 *
 * `"chunk"`: R = Σ r_i and discount γ, whatever h is.
 *
 * @param chunk Its rewards.
 * @param options.gamma γ in [0, 1].
 * @param options.discounting What γ is the discount of.
 * @throws RangeError if no step was executed, rewards are not one a step, or one is not finite.
 */
export function discountChunk(
  chunk: ChunkReward,
  options: { readonly gamma: number; readonly discounting: Discounting },
): DiscountedChunk {
  const { gamma, discounting } = options;
  const { stepsExecuted, stepRewards, reward } = chunk;
  if (!Number.isInteger(stepsExecuted) || stepsExecuted < 1) {
    throw new RangeError(
      `Cannot discount a chunk: ${stepsExecuted} of its steps were executed, expected a whole ` +
        `number of at least 1; a chunk without a step is no experience, leave it out`,
    );
  }
  if (stepRewards && stepRewards.length !== stepsExecuted) {
    throw new RangeError(
      `Cannot discount a chunk: it has ${stepRewards.length} rewards for ${stepsExecuted} executed ` +
        `steps, expected one a step`,
    );
  }
  // The chunk's own sum has not been rounded to float32 step by step.
  const sum = stepRewards && discounting === "step"
    ? stepRewards.reduce((a, r) => a + r, 0)
    : reward;
  if (!Number.isFinite(sum)) {
    throw new RangeError(`Cannot discount a chunk: its rewards add up to ${sum}, not a number`);
  }
  if (discounting === "chunk") return { reward: sum, discount: gamma };
  // weight is γ^i at step i, and γ^h when the loop is done.
  let weight = 1, discounted = 0, weights = 0;
  for (let i = 0; i < stepsExecuted; i++) {
    if (stepRewards) discounted += weight * stepRewards[i];
    weights += weight;
    weight *= gamma;
  }
  return {
    reward: stepRewards ? discounted : sum * (weights / stepsExecuted),
    discount: weight,
  };
}

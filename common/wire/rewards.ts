/**
 * Whether a chunk's rewards and its end can be true: what the learner discounts and bootstraps with.
 *
 * @module
 */

import type { ChunkTransition } from "../types.ts";
import type { TransitionFault } from "./refusals.ts";

/**
 * How far the steps' rewards may add up to something else than the chunk's, relative to 1 + Σ|r|:
 * float32 keeps 24 bits of each, which is 6e-8 of it, so only another chunk's fail.
 */
export const REWARD_SUM_TOLERANCE = 1e-4;

/** The fields that are looked at. */
export type RewardFields = Pick<
  ChunkTransition,
  | "reward"
  | "stepRewards"
  | "humanRewards"
  | "stepsExecuted"
  | "isTerminal"
  | "isTruncated"
  | "isCutShort"
>;

/**
 * Find what is wrong with a chunk's rewards or its end.
 *
 * @param chunk The fields.
 * @returns The first fault, or null if there is none.
 */
export function findRewardFault(chunk: RewardFields): TransitionFault | null {
  const { reward, stepRewards, humanRewards, stepsExecuted } = chunk;
  if (stepRewards.length !== stepsExecuted) {
    return {
      reason: "shape",
      field: "stepRewards",
      problem: `must have one number an executed step, got ${stepRewards.length} for ` +
        `${stepsExecuted}`,
    };
  }
  if (humanRewards.length !== 0 && humanRewards.length !== stepsExecuted) {
    return {
      reason: "shape",
      field: "humanRewards",
      problem:
        `must be empty or have one number an executed step, got ${humanRewards.length} for ` +
        `${stepsExecuted}`,
    };
  }
  for (const [field, rewards] of Object.entries({ stepRewards, humanRewards })) {
    const bad = rewards.findIndex((one) => !Number.isFinite(one));
    if (bad < 0) continue;
    return {
      reason: "reward",
      field,
      problem: `must be finite, got ${rewards[bad]} at index ${bad}`,
    };
  }
  if (!Number.isFinite(reward)) {
    return { reason: "reward", field: "reward", problem: `must be finite, got ${reward}` };
  }
  let sum = 0, size = 0;
  for (const one of stepRewards) {
    sum += one;
    size += Math.abs(one);
  }
  if (Math.abs(sum - reward) > REWARD_SUM_TOLERANCE * (1 + size)) {
    return {
      reason: "reward",
      field: "reward",
      problem: `must be the sum of the steps', which is ${sum}, got ${reward}`,
    };
  }
  return findEndFault(chunk);
}

function findEndFault(
  { isTerminal, isTruncated, isCutShort }: RewardFields,
): TransitionFault | null {
  const ends = Object.entries({ isTerminal, isTruncated, isCutShort })
    .filter(([, holds]) => holds).map(([name]) => name);
  if (ends.length <= 1) return null;
  return { reason: "end", field: ends[0], problem: `contradicts ${ends[1]}: one end is possible` };
}

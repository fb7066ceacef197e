/**
 * What probability ratios of a batch say about its data: how far two policies are apart, how many
 * samples the weighted batch is worth, how much is clipped.
 *
 * @module
 */

import { MAX_LOG_RATIO } from "./decoupled.ts";

/** Numbers of a batch's ratios r = π_a / π_b, over samples of π_b. */
export interface RatioSummary {
  /** Ratios. */
  readonly count: number;
  /** Mean of r: 1 in expectation, whatever the policies are. */
  readonly mean: number;
  /** Largest r. */
  readonly max: number;
  /** Effective sample size as a share of the batch, in (0, 1]. */
  readonly effectiveSampleSize: number;
  /** Mean of −log r: unbiased for KL(π_b ‖ π_a), of either sign, noisy. Nats. */
  readonly k1: number;
  /** Mean of (r − 1) − log r: unbiased too, never below 0, less noisy near r = 1. Nats. */
  readonly k3: number;
  /** Share of ratios below 1 − ε_low. */
  readonly clippedLow: number;
  /** Share of ratios above 1 + ε_high. */
  readonly clippedHigh: number;
}

/** Where ratios are clipped. */
export interface ClipRanges {
  /** ε_low. */
  readonly clipRange: number;
  /** ε_high; ε_low if absent. */
  readonly clipRangeHigh?: number;
}

const clamp = (x: number) => Math.max(-MAX_LOG_RATIO, Math.min(MAX_LOG_RATIO, x));

/**
 * Summarise log-ratios; they are bounded to ±20 first, so that everything is finite.
 *
 * Estimators k1 and k3: Schulman, "Approximating KL Divergence", 2020.
 *
 * @param logRatios log π_a − log π_b of each sample of π_b, nats.
 * @param ranges Where ratios are clipped.
 * @returns null if there are none.
 * @throws RangeError if a log-ratio is not a number.
 */
export function summarizeRatios(
  logRatios: ArrayLike<number>,
  { clipRange, clipRangeHigh = clipRange }: ClipRanges,
): RatioSummary | null {
  const count = logRatios.length;
  if (count === 0) return null;
  let sum = 0, max = 0, k1 = 0, k3 = 0, low = 0, high = 0;
  const ratios = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const logRatio = clamp(logRatios[i]);
    if (Number.isNaN(logRatio)) {
      throw new RangeError(`Cannot summarise ratios: log-ratio ${i} of ${count} is not a number`);
    }
    const ratio = ratios[i] = Math.exp(logRatio);
    sum += ratio;
    max = Math.max(max, ratio);
    k1 -= logRatio;
    // expm1 keeps the digits that exp(x) − 1 would lose near 0; its last one may still be off.
    k3 += Math.max(0, Math.expm1(logRatio) - logRatio);
    if (ratio < 1 - clipRange) low++;
    if (ratio > 1 + clipRangeHigh) high++;
  }
  return {
    count,
    mean: sum / count,
    max,
    effectiveSampleSize: effectiveSampleSize(ratios),
    k1: k1 / count,
    k3: k3 / count,
    clippedLow: low / count,
    clippedHigh: high / count,
  };
}

/**
 * Kish's effective sample size as a share of the batch: (Σw)² / (n · Σw²).
 * @param weights At least 0.
 * @returns In (0, 1]: 1 for equal weights, 1/n if one sample has all; 0 if all weights are 0 or there
 *   are none.
 */
export function effectiveSampleSize(weights: ArrayLike<number>): number {
  let sum = 0, squares = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i];
    squares += weights[i] ** 2;
  }
  // Rounding may end a hair above 1 for equal weights.
  return squares === 0 ? 0 : Math.min(1, sum ** 2 / (weights.length * squares));
}

/**
 * Truncated importance weights (Ionides, 2008): min(exp(clamp(log r, ±20)), cap).
 * @param logRatios log π_target − log π_sampled of each sample, nats.
 * @param cap Largest weight, above 0; Infinity for none.
 * @throws RangeError if the cap is not above 0.
 */
export function truncatedWeights(logRatios: ArrayLike<number>, cap: number): Float64Array {
  if (!(cap > 0)) {
    throw new RangeError(`Cannot truncate weights: the cap is ${cap}, expected above 0`);
  }
  return Float64Array.from(logRatios, (x) => Math.min(Math.exp(clamp(x)), cap));
}

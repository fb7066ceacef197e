/**
 * PPO's clipped surrogate (Schulman et al., "Proximal Policy Optimization Algorithms", 2017), with
 *
 * - a clip range of its own above 1 (Yu et al., "DAPO", 2025): a larger one leaves unlikely tokens room
 *   to grow;
 * - a dual clip (Ye et al., "Mastering Complex Control in MOBA Games with Deep Reinforcement Learning",
 *   2020): a bad sample that the policy now likes far more than it did costs no more than c·|A|;
 * - a weight for stale data ({@link behaviourWeight}).
 *
 * Elements are chunks `[B]` or tokens `[B, S]`: a ratio, a clip and a term each.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor } from "../../common/policy/tensors.ts";
import { behaviourWeight, boundedLogRatio, detach } from "./decoupled.ts";
import { maskedMean, type MeanOver } from "./masked_mean.ts";

/** Ranges of the surrogate. */
export interface SurrogateOptions {
  /** ε_low: the ratio is clipped to 1 − ε_low from below. */
  readonly clipRange: number;
  /** ε_high: the ratio is clipped to 1 + ε_high from above; ε_low if absent. */
  readonly clipRangeHigh?: number;
  /** c > 1 of the dual clip; off if absent or 0. */
  readonly dualClip?: number;
}

/** Elements of the policy loss, all of one shape but the advantages, which may broadcast to it. */
export interface PolicyTerms {
  /** Under the policy being trained, nats. */
  readonly logProb: Tensor;
  /** Under the policy that the ratio is to: the one that sampled, or the proximal one. Nats. */
  readonly oldLogProb: Tensor;
  /** Advantages. */
  readonly advantage: Tensor;
  /** Under the policy that sampled, if that is another one than `oldLogProb`'s, and the weight's cap. */
  readonly stale?: { readonly behaviourLogProb: Tensor; readonly cap: number };
  /** What counts. */
  readonly over?: MeanOver;
}

/** The policy loss and what is worth watching; scalars. */
export interface PolicyLoss {
  /** What is minimised. */
  readonly loss: Scalar;
  /** Mean of (ρ − 1) − log ρ, the estimator k3 of KL(old ‖ new), nats an element. */
  readonly approxKl: Scalar;
  /** Share of elements whose ratio is outside the clip range. */
  readonly clipFraction: Scalar;
}

/**
 * min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)·A), and for A < 0 at least c·A.
 * @param ratio ρ of each element.
 * @param advantage A, broadcast to the ratios.
 * @throws RangeError if the dual clip is not off and not above 1.
 */
export function clippedSurrogate(
  ratio: Tensor,
  advantage: Tensor,
  { clipRange, clipRangeHigh = clipRange, dualClip = 0 }: SurrogateOptions,
): Tensor {
  const clipped = tf.clipByValue(ratio, 1 - clipRange, 1 + clipRangeHigh);
  const surrogate = tf.minimum(tf.mul(ratio, advantage), tf.mul(clipped, advantage));
  if (dualClip === 0) return surrogate;
  if (!(dualClip > 1)) {
    throw new RangeError(
      `Cannot clip twice: the dual clip is ${dualClip}, expected above 1, or 0 for none`,
    );
  }
  const bounded = tf.maximum(surrogate, tf.mul(advantage, dualClip));
  return tf.where(tf.less(advantage, 0), bounded, surrogate);
}

/** Compute the policy loss. Call inside `tf.tidy` or a gradient function. */
export function policyLoss(terms: PolicyTerms, options: SurrogateOptions): PolicyLoss {
  const { clipRange, clipRangeHigh = clipRange } = options;
  const { logProb, advantage, stale, over } = terms;
  // The old policy is a constant even if the caller's graph leads to it.
  const oldLogProb = detach(terms.oldLogProb);
  const logRatio = boundedLogRatio(logProb, oldLogProb);
  const ratio = tf.exp(logRatio);
  const surrogate = clippedSurrogate(ratio, advantage, options);
  const weighted = stale
    ? tf.mul(behaviourWeight(oldLogProb, stale.behaviourLogProb, stale.cap), surrogate)
    : surrogate;
  const isOutside = tf.logicalOr(
    tf.greater(ratio, 1 + clipRangeHigh),
    tf.less(ratio, 1 - clipRange),
  );
  return {
    loss: tf.neg(maskedMean(weighted, over)) as Scalar,
    approxKl: maskedMean(tf.sub(tf.sub(ratio, 1), logRatio), over),
    clipFraction: maskedMean(tf.cast(isOutside, "float32"), over),
  };
}

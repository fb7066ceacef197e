/**
 * PPO's losses over chunks (Schulman et al., 2017): one probability ratio a chunk.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor1D, Tensor2D, Tensor3D } from "../../common/policy/tensors.ts";

/** Data of a batch, `[B]` each. */
export interface LossInput {
  /** Log-probability of each chunk under the policy being trained. */
  readonly logProb: Tensor1D;
  /** Mean entropy a token. */
  readonly entropy: Tensor1D;
  /** The critic's value. */
  readonly value: Tensor1D;
  /** Log-probability of each chunk when it was sampled. */
  readonly oldLogProb: Tensor1D;
  /** The critic's value when it was sampled. */
  readonly oldValue: Tensor1D;
  /** Advantages. */
  readonly advantage: Tensor1D;
  /** Targets of the critic. */
  readonly valueTarget: Tensor1D;
}

/** Weights and ranges of the losses. */
export interface LossOptions {
  /** ε: the ratio is clipped to [1 − ε, 1 + ε]. */
  readonly clipRange: number;
  /** Largest change of a value; 0 is off. */
  readonly valueClipRange: number;
  /** Weight of the value loss. */
  readonly valueLossWeight: number;
  /** Weight of the entropy bonus. */
  readonly entropyWeight: number;
}

/** Losses and what is worth watching; scalars. */
export interface Losses {
  /** What is minimised. */
  readonly total: Scalar;
  /** −mean min(ratio · A, clip(ratio) · A). */
  readonly policy: Scalar;
  /** ½ mean (V − target)². */
  readonly value: Scalar;
  /** Mean entropy a token, nats. */
  readonly entropy: Scalar;
  /** Mean of (ratio − 1) − log ratio: Schulman's k3 estimate of KL(old ‖ new), nats a chunk. */
  readonly approxKl: Scalar;
  /** Fraction of chunks whose ratio is outside the clip range. */
  readonly clipFraction: Scalar;
}

/** Largest |log ratio|: e^20 is far beyond any clip range, and finite. */
const MAX_LOG_RATIO = 20;

/** Compute all losses of a batch. Call inside `tf.tidy` or a gradient function. */
export function ppoLosses(input: LossInput, options: LossOptions): Losses {
  const { clipRange, valueLossWeight, entropyWeight } = options;
  const logRatio = tf.clipByValue(
    tf.sub(input.logProb, input.oldLogProb),
    -MAX_LOG_RATIO,
    MAX_LOG_RATIO,
  );
  const ratio = tf.exp(logRatio);
  const clipped = tf.clipByValue(ratio, 1 - clipRange, 1 + clipRange);
  const surrogate = tf.minimum(tf.mul(ratio, input.advantage), tf.mul(clipped, input.advantage));
  const policy = tf.neg(tf.mean(surrogate)) as Scalar;
  const value = valueLoss(input, options.valueClipRange);
  const entropy = tf.mean(input.entropy) as Scalar;
  const total = tf.sub(
    tf.add(policy, tf.mul(value, valueLossWeight)),
    tf.mul(entropy, entropyWeight),
  ) as Scalar;
  return {
    total,
    policy,
    value,
    entropy,
    approxKl: tf.mean(tf.sub(tf.sub(ratio, 1), logRatio)) as Scalar,
    clipFraction: tf.mean(
      tf.cast(tf.greater(tf.abs(tf.sub(ratio, 1)), clipRange), "float32"),
    ) as Scalar,
  };
}

/** ½ mean of squared errors; with a clip range the larger of the plain and the clipped error. */
function valueLoss(
  { value, oldValue, valueTarget }: LossInput,
  clipRange: number,
): Scalar {
  const error = tf.square(tf.sub(value, valueTarget));
  if (clipRange === 0) return tf.mul(tf.mean(error), 0.5) as Scalar;
  const change = tf.clipByValue(tf.sub(value, oldValue), -clipRange, clipRange);
  const clipped = tf.square(tf.sub(tf.add(oldValue, change), valueTarget));
  return tf.mul(tf.mean(tf.maximum(error, clipped)), 0.5) as Scalar;
}

/**
 * Mean KL(reference ‖ policy) a token, exact over the masked distributions.
 * @param logProbs `[B, S, V]` of the policy.
 * @param reference `[B, S, V]` of the frozen imitation policy, under the same mask.
 * @param isToken `[B, S]`.
 */
export function klToReference(
  logProbs: Tensor3D,
  reference: Tensor3D,
  isToken: Tensor2D,
): Scalar {
  // Masked entries are −2.4e38 on both sides; bounded, their weight exp(·) of 0 removes them.
  const difference = tf.sub(tf.maximum(reference, -1e4), tf.maximum(logProbs, -1e4));
  const perToken = tf.sum(tf.mul(tf.exp(reference), difference), 2);
  return tf.div(tf.sum(tf.mul(perToken, isToken)), tf.sum(isToken)) as Scalar;
}

/**
 * Share of the variance of the targets that the values explain: 1 is perfect, 0 is no better than
 * their mean.
 */
export function explainedVariance(
  values: readonly number[],
  targets: readonly number[],
): number {
  const variance = (xs: readonly number[]) => {
    const mean = xs.reduce((a, b) => a + b, 0) / xs.length;
    return xs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / xs.length;
  };
  const spread = variance(targets);
  if (spread === 0) return 0;
  return 1 - variance(targets.map((t, i) => t - values[i])) / spread;
}

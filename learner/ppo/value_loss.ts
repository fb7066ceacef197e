/**
 * The critic's loss: squared or Huber's, with or without a clipped change of the values.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { ValueLossKind } from "../../common/config/ppo_config.ts";
import type { Scalar, Tensor, Tensor1D } from "../../common/policy/tensors.ts";
import { maskedMean, type MeanOver } from "./masked_mean.ts";

export type { ValueLossKind } from "../../common/config/ppo_config.ts";

/** Values and targets, `[B]` each. */
export interface ValueTerms {
  /** The critic's value. */
  readonly value: Tensor1D;
  /** The critic's value when the chunk was sampled; counts only if changes are clipped. */
  readonly oldValue: Tensor1D;
  /** What it should have said. */
  readonly valueTarget: Tensor1D;
  /** What counts. */
  readonly over?: MeanOver;
}

/** Shape of the loss. */
export interface ValueLossOptions {
  /** Largest change of a value; 0 is off. */
  readonly valueClipRange: number;
  /** Squared if absent. */
  readonly valueLoss?: ValueLossKind;
  /** δ of Huber's loss, above 0, in the targets' unit; 1 if absent. */
  readonly huberDelta?: number;
}

/**
 * Mean error of the values.
 *
 * Squared: ½e². Huber (1964): ½e² up to |e| = δ and δ(|e| − ½δ) beyond, so that one wild target pulls no
 * harder than δ. With a clip range v each term is the larger of the error of V and of the error of
 * V_old + clamp(V − V_old, ±v) (OpenAI Baselines' PPO2; in no paper).
 *
 * @throws RangeError if δ is not above 0.
 */
export function valueLoss(terms: ValueTerms, options: ValueLossOptions): Scalar {
  const { value, oldValue, valueTarget, over } = terms;
  const { valueClipRange, valueLoss: kind = "squared", huberDelta = 1 } = options;
  if (kind === "huber" && !(huberDelta > 0)) {
    throw new RangeError(`Cannot use Huber's loss: its δ is ${huberDelta}, expected above 0`);
  }
  // Twice the error of each element: the ½ waits for the mean.
  const errorOf = (x: Tensor) => {
    const error = tf.sub(x, valueTarget);
    return kind === "squared" ? tf.square(error) : doubleHuber(error, huberDelta);
  };
  let errors = errorOf(value);
  if (valueClipRange !== 0) {
    const change = tf.clipByValue(tf.sub(value, oldValue), -valueClipRange, valueClipRange);
    errors = tf.maximum(errors, errorOf(tf.add(oldValue, change)));
  }
  return tf.mul(maskedMean(errors, over), 0.5) as Scalar;
}

/** Twice Huber's loss of each error: q² + 2δ(|e| − q) with q = min(|e|, δ). */
function doubleHuber(error: Tensor, delta: number): Tensor {
  const size = tf.abs(error);
  const inner = tf.minimum(size, delta);
  return tf.add(tf.square(inner), tf.mul(tf.sub(size, inner), 2 * delta));
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

/**
 * Means over part of a batch.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor } from "../../common/policy/tensors.ts";

/**
 * What a mean is taken over. By default over everything.
 *
 * A micro-batch that is one part of a larger batch divides by the count of the whole batch: then the
 * parts' means add up to the batch's.
 */
export interface MeanOver {
  /** 1 where an element counts, 0 where not; of the elements' shape. All count if absent. */
  readonly mask?: Tensor;
  /** What to divide the sum by; the number of elements that count if absent. */
  readonly count?: number;
}

/**
 * Σ mask·x / count. Equal to the mean of what is left when the masked elements are removed.
 * @param x Finite, where it is masked too: 0 · NaN would be NaN.
 * @returns 0 if nothing counts.
 */
export function maskedMean(x: Tensor, { mask, count }: MeanOver = {}): Scalar {
  if (mask === undefined && count === undefined) return tf.mean(x) as Scalar;
  const sum = tf.sum(mask ? tf.mul(x, mask) : x);
  if (count !== undefined) return tf.div(sum, Math.max(1, count)) as Scalar;
  return tf.div(sum, tf.maximum(tf.sum(mask as Tensor), 1)) as Scalar;
}

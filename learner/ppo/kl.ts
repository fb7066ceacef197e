/**
 * KL to the frozen imitation policy, exact over the masked distributions.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor2D, Tensor3D } from "../../common/policy/tensors.ts";

/**
 * Mean KL(reference ‖ policy) a token, exact over the masked distributions.
 * @param logProbs `[B, S, V]` of the policy.
 * @param reference `[B, S, V]` of the frozen imitation policy, under the same mask.
 * @param isToken `[B, S]`: 1 where a token counts.
 * @param count What to divide by; the tokens that count if absent. A micro-batch gives the whole
 *   batch's.
 */
export function klToReference(
  logProbs: Tensor3D,
  reference: Tensor3D,
  isToken: Tensor2D,
  count?: number,
): Scalar {
  // Masked entries are −2.4e38 on both sides; bounded, their weight exp(·) of 0 removes them.
  const difference = tf.sub(tf.maximum(reference, -1e4), tf.maximum(logProbs, -1e4));
  const perToken = tf.sum(tf.mul(tf.exp(reference), difference), 2);
  return tf.div(tf.sum(tf.mul(perToken, isToken)), count ?? tf.sum(isToken)) as Scalar;
}

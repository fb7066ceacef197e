/**
 * PPO's objective on data that another policy sampled, corrected for it.
 *
 * Plain PPO uses the policy that sampled (behaviour) twice: to correct for who sampled, and as the
 * centre of the trust region. With stale weights, or a quantized controller, these are different
 * policies. Decoupled PPO (Hilton, Cobbe and Schulman, "Batch size-invariance for policy
 * optimization", 2022; Fu et al., "AReaL", 2025) takes the newest weights before the update as
 * centre, the proximal policy:
 *
 *   loss = −mean w · min(ρA, clip(ρ)A),  ρ = π_θ / π_prox,  w = min(π_prox / π_behaviour, C)
 *
 * w is a constant in the gradient. Its cap C (truncated importance sampling: Ionides, 2008) bounds the
 * variance that one unlikely sample can bring, for a bias towards the samples below the cap.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "../../common/policy/tensors.ts";

/** Largest |log ratio| that is put into an exponential: e^20 is far beyond any cap, and finite. */
export const MAX_LOG_RATIO = 20;

/** log(π / π_of) of each element, bounded to ±{@link MAX_LOG_RATIO}, past which it has no gradient. */
export function boundedLogRatio(logProb: Tensor, logProbOf: Tensor): Tensor {
  return tf.clipByValue(tf.sub(logProb, logProbOf), -MAX_LOG_RATIO, MAX_LOG_RATIO);
}

/** The same values as a constant: gradients stop here. */
export function detach(x: Tensor): Tensor {
  const constant = tf.customGrad((input) => ({
    value: tf.clone(input as Tensor),
    gradFunc: (dy: Tensor) => tf.zerosLike(dy),
  }));
  return constant(x);
}

/**
 * w = min(exp(clamp(log π_prox − log π_behaviour, ±20)), cap) of each element, as a constant.
 *
 * For a ratio a chunk, give sums over tokens and the cap of chunks; for a ratio a token, each token's
 * and the cap of tokens. The two caps are apart because a chunk's ratio is the product of its 30 to 60
 * tokens': 2 is a wide cap for the latter and a narrow one for the former.
 *
 * @param proximal Log-probabilities under the learner's weights before the update, nats.
 * @param behaviour Log-probabilities under the policy that sampled, nats; of the same shape.
 * @param cap C, at least 1; Infinity for none.
 * @throws RangeError if the cap is below 1: it would scale fresh data down too.
 */
export function behaviourWeight(proximal: Tensor, behaviour: Tensor, cap: number): Tensor {
  if (!(cap >= 1)) {
    throw new RangeError(`Cannot weigh stale data: the cap is ${cap}, expected at least 1`);
  }
  const weight = tf.exp(boundedLogRatio(proximal, behaviour));
  return detach(Number.isFinite(cap) ? tf.minimum(weight, cap) : weight);
}

/**
 * The critic: an MLP on a hidden state of the language model, or on several pooled into one.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { gelu } from "../kernels/gelu_ops.ts";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D } from "./tensors.ts";
import { linear } from "./layers.ts";
import { type ParameterStore, POOL_QUERY } from "./parameters.ts";

/**
 * Value of a batch of hidden states.
 * @param hidden `[B, D]`.
 * @returns `[B]`, in units of reward.
 */
export function valueOf(params: ParameterStore, hidden: Tensor): Tensor1D {
  const layer = (x: Tensor, name: string) =>
    linear(x, params.get(`${name}/kernel`), params.get(`${name}/bias`));
  const x = gelu(layer(gelu(layer(hidden, "dense_0")), "dense_1"));
  return tf.reshape(layer(x, "out"), [-1]) as Tensor1D;
}

/**
 * One state of several, Σ_t softmax(x·q)_t x_t with a learned query q: pooling by multihead attention
 * (Lee et al., "Set Transformer", 2019) with one seed and one head. Keys and values are the states
 * themselves, for the MLP behind it can turn them as a projection would.
 * @param states `[B, T, D]`.
 * @param mask `[B, T]`, added to the scores: 0 where a state counts.
 * @returns `[B, D]`.
 */
export function poolByAttention(
  params: ParameterStore,
  states: Tensor3D,
  mask: Tensor2D,
): Tensor2D {
  const [batch, steps] = states.shape;
  const scores = tf.reshape(linear(states, params.get(POOL_QUERY)), [batch, steps]);
  const weights = tf.softmax(tf.add(scores, mask));
  return tf.sum(tf.mul(states, tf.expandDims(weights, 2)), 1) as Tensor2D;
}

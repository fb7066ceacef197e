/**
 * The critic: an MLP on a hidden state of the language model.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { gelu } from "../kernels/gelu_ops.ts";
import type { Tensor, Tensor1D } from "./tensors.ts";
import { linear } from "./layers.ts";
import type { ParameterStore } from "./parameters.ts";

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

/**
 * The small building blocks of both transformers, written so that WebAssembly runs them fast: every
 * product with a weight is one tall matrix product.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { layerNorm as normaliseCentred } from "../kernels/layer_norm_ops.ts";
import { multiplyByWeight } from "../kernels/linear_ops.ts";
import { QuantizedMatrix } from "../kernels/quantized_matrix.ts";
import { quantizedMatMul } from "../kernels/quantized_ops.ts";
import { rmsNorm as normalise } from "../kernels/rms_norm_ops.ts";
import type { Tensor, Tensor2D } from "./tensors.ts";
import { NORM_EPSILON } from "./variants.ts";

/**
 * x · w (+ b), for x of any rank.
 * @param x `[…, in]`.
 * @param w `[in, out]`, or in few bits a row for each output.
 * @param b `[out]`, optional.
 * @returns `[…, out]`.
 */
export function linear(x: Tensor, w: Tensor | QuantizedMatrix, b?: Tensor): Tensor {
  const isQuantized = w instanceof QuantizedMatrix;
  if (!isQuantized && !b) return multiplyByWeight(x, w as Tensor2D);
  const [rows, columns] = isQuantized ? [w.columns, w.rows] : w.shape as [number, number];
  const flat = tf.reshape(x, [-1, rows]) as Tensor2D;
  const y = isQuantized ? quantizedMatMul(flat, w) : tf.matMul(flat, w as Tensor2D);
  return tf.reshape(b ? tf.add(y, b) : y, [...x.shape.slice(0, -1), columns]);
}

/**
 * RMSNorm as Gemma has it: x / rms(x) · (1 + scale).
 * @param x `[…, D]`.
 * @param scale `[D]`.
 */
export function rmsNorm(x: Tensor, scale: Tensor): Tensor {
  return normalise(x, scale, NORM_EPSILON);
}

/**
 * LayerNorm as SigLIP has it: (x − mean) / std · scale + bias.
 * @param x `[…, D]`.
 */
export function layerNorm(x: Tensor, scale: Tensor, bias: Tensor): Tensor {
  return normaliseCentred(x, scale, bias, NORM_EPSILON);
}

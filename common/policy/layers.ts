/**
 * The small building blocks of both transformers, written so that WebAssembly runs them fast: every
 * product with a weight is one tall matrix product.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { QuantizedMatrix } from "../kernels/quantized_matrix.ts";
import { quantizedMatMul } from "../kernels/quantized_ops.ts";
import { rmsNorm as normalise } from "../kernels/rms_norm_ops.ts";
import type { Tensor, Tensor2D, Tensor3D } from "./tensors.ts";
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
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.mean(tf.square(centred), -1, true);
  const normal = tf.mul(centred, tf.rsqrt(tf.add(variance, NORM_EPSILON)));
  return tf.add(tf.mul(normal, scale), bias);
}

/**
 * Attention of every query row over every key.
 * @param q `[B, R, K]`, already scaled.
 * @param k `[B, T, K]`.
 * @param v `[B, T, K]`.
 * @param mask Additive, broadcast to `[B, R, T]` after `shape`.
 * @param shape Shape in which the scores meet the mask, such as `[B, T', N, T]`.
 * @returns `[B, R, K]`.
 */
export function attend(
  q: Tensor3D,
  k: Tensor3D,
  v: Tensor3D,
  mask?: { readonly additive: Tensor; readonly shape: readonly number[] },
): Tensor3D {
  let scores: Tensor = tf.matMul(q, k, false, true);
  const flat = scores.shape as [number, number, number];
  if (mask) scores = tf.add(tf.reshape(scores, [...mask.shape]), mask.additive);
  const weights = tf.reshape(tf.softmax(scores), flat);
  return tf.matMul(weights, v);
}

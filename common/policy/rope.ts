/**
 * Rotary position embedding, halves split: (x1·cos − x2·sin, x2·cos + x1·sin).
 *
 * Source: openpi `gemma_fast.py`, `_apply_rope` (Su et al., 2021). The rotation of the halves is a
 * product with a fixed K×K matrix of 0 and ±1: it needs no slice and no concat, whose gradients are
 * slow on WebAssembly.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor, Tensor2D, Tensor4D } from "./tensors.ts";
import { ROPE_MAX_WAVELENGTH } from "./variants.ts";

/** cos and sin of every position's angles, and the matrix that turns a pair of halves. */
export interface Rope {
  /** `[B, T, 1, K]`. */
  readonly cos: Tensor4D;
  /** `[B, T, 1, K]`. */
  readonly sin: Tensor4D;
  /** `[K, K]`: (x1, x2) · turn = (−x2, x1). */
  readonly turn: Tensor2D;
}

/**
 * Angles for a batch of positions.
 * @param positions `[B, T]`, row-major.
 * @param shape `[B, T]`.
 * @param headDim K, even.
 */
export function makeRope(
  positions: ArrayLike<number>,
  shape: readonly [number, number],
  headDim: number,
): Rope {
  const half = headDim / 2;
  const cos = new Float32Array(positions.length * headDim);
  const sin = new Float32Array(positions.length * headDim);
  const turn = new Float32Array(headDim * headDim);
  for (let j = 0; j < half; j++) {
    const timescale = ROPE_MAX_WAVELENGTH ** (j / half);
    for (let i = 0; i < positions.length; i++) {
      const angle = positions[i] / timescale;
      const at = i * headDim + j;
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
    turn[(j + half) * headDim + j] = -1;
    turn[j * headDim + j + half] = 1;
  }
  const full: [number, number, number, number] = [shape[0], shape[1], 1, headDim];
  return {
    cos: tf.tensor4d(cos, full),
    sin: tf.tensor4d(sin, full),
    turn: tf.tensor2d(turn, [headDim, headDim]),
  };
}

/**
 * Rotate queries or keys.
 * @param x `[B, T, N, K]`.
 * @returns The same shape.
 */
export function applyRope(x: Tensor, { cos, sin, turn }: Rope): Tensor {
  const turned = tf.reshape(tf.matMul(tf.reshape(x, [-1, turn.shape[0]]), turn), x.shape);
  return tf.add(tf.mul(x, cos), tf.mul(turned, sin));
}

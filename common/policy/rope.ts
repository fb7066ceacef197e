/**
 * Rotary position embedding, halves split: (x1·cos − x2·sin, x2·cos + x1·sin).
 *
 * Source: openpi `gemma_fast.py`, `_apply_rope` (Su et al., 2021).
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { rotate } from "../kernels/rope_ops.ts";
import type { Tensor, Tensor3D } from "./tensors.ts";
import { ROPE_MAX_WAVELENGTH } from "./variants.ts";

/** Angles of a batch of positions. */
export interface Rope {
  /** `[B, T, K]`: cosines of a position's K / 2 angles, then their sines. */
  readonly table: Tensor3D;
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
  const table = new Float32Array(positions.length * headDim);
  for (let j = 0; j < half; j++) {
    const timescale = ROPE_MAX_WAVELENGTH ** (j / half);
    for (let i = 0; i < positions.length; i++) {
      const angle = positions[i] / timescale;
      table[i * headDim + j] = Math.cos(angle);
      table[i * headDim + half + j] = Math.sin(angle);
    }
  }
  return { table: tf.tensor3d(table, [...shape, headDim]) };
}

/**
 * Rotate queries or keys.
 * @param x `[B, T, N, K]` or `[B, T, N · K]`.
 * @param factor What the result is multiplied by, such as the query's 1 / √K.
 * @returns The same shape.
 */
export function applyRope(x: Tensor, { table }: Rope, factor = 1): Tensor {
  return rotate(x, table, factor);
}

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
  const timescales = Array.from({ length: half }, (_, j) => ROPE_MAX_WAVELENGTH ** (j / half));
  // Rows of a batch have nearly the same positions: each is worked out once.
  const firstRows = new Map<number, number>();
  for (let i = 0; i < positions.length; i++) {
    const position = positions[i];
    const known = firstRows.get(position);
    if (known !== undefined) {
      table.copyWithin(i * headDim, known * headDim, (known + 1) * headDim);
      continue;
    }
    firstRows.set(position, i);
    timescales.forEach((timescale, j) => {
      const angle = position / timescale;
      table[i * headDim + j] = Math.cos(angle);
      table[i * headDim + half + j] = Math.sin(angle);
    });
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

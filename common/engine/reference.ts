/**
 * What the kernels compute, in plain TypeScript with float64 sums: slow, short and easy to check.
 *
 * @module
 */

import { NORM_EPSILON, ROPE_MAX_WAVELENGTH } from "../policy/variants.ts";
import { type MatrixRows, toFloats } from "./packed_rows.ts";

/**
 * Product of a matrix with a vector.
 *
 * @param matrix `[R, C]`.
 * @param x `[C]`.
 * @returns `[R]`.
 */
export function referenceMatvec(matrix: MatrixRows, x: ArrayLike<number>): Float64Array {
  const { rows, columns } = matrix;
  const weights = toFloats(matrix);
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += weights[row * columns + c] * x[c];
    return sum;
  });
}

/**
 * RMSNorm: x / rms(x) · (1 + scale).
 *
 * @param x `[D]`.
 * @param scale `[D]`.
 * @returns `[D]`.
 */
export function referenceRmsNorm(x: ArrayLike<number>, scale: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(x);
  const meanSquare = values.reduce((sum, v) => sum + v * v, 0) / values.length;
  return values.map((v, i) => v / Math.sqrt(meanSquare + NORM_EPSILON) * (1 + scale[i]));
}

/**
 * LayerNorm: (x − mean) / √(variance + 1e-6) · scale + bias.
 *
 * @param x `[D]`.
 * @param scale `[D]`.
 * @param bias `[D]`.
 * @returns `[D]`.
 */
export function referenceLayerNorm(
  x: ArrayLike<number>,
  scale: ArrayLike<number>,
  bias: ArrayLike<number>,
): Float64Array {
  const values = Float64Array.from(x);
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
  const factor = 1 / Math.sqrt(variance + NORM_EPSILON);
  return values.map((v, i) => (v - mean) * factor * scale[i] + bias[i]);
}

/**
 * gelu, tanh approximation.
 * @param x A number.
 */
export function referenceGelu(x: number): number {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/**
 * Rotate a head.
 *
 * @param x `[K]`.
 * @param position Its rotary position.
 * @returns `[K]`.
 */
export function referenceRope(x: ArrayLike<number>, position: number): Float64Array {
  const half = x.length / 2;
  const out = new Float64Array(x.length);
  for (let j = 0; j < half; j++) {
    const angle = position / ROPE_MAX_WAVELENGTH ** (j / half);
    out[j] = x[j] * Math.cos(angle) - x[j + half] * Math.sin(angle);
    out[j + half] = x[j + half] * Math.cos(angle) + x[j] * Math.sin(angle);
  }
  return out;
}

/**
 * Attention of one query over keys.
 *
 * @param q `[K]`, already scaled.
 * @param keys `[T, K]`.
 * @param values `[T, K]`.
 * @param isSeen Whether the query sees key t.
 * @returns `[K]`.
 */
export function referenceAttention(
  q: ArrayLike<number>,
  keys: ArrayLike<number>,
  values: ArrayLike<number>,
  isSeen: (t: number) => boolean,
): Float64Array {
  const K = q.length;
  const places = Array.from({ length: keys.length / K }, (_, t) => t).filter(isSeen);
  const scores = places.map((t) => {
    let sum = 0;
    for (let d = 0; d < K; d++) sum += q[d] * keys[t * K + d];
    return sum;
  });
  const top = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return Float64Array.from(
    { length: K },
    (_, d) => places.reduce((sum, t, i) => sum + weights[i] * values[t * K + d], 0) / total,
  );
}

/**
 * Greatest difference between two vectors, relative to the greatest number of the second.
 *
 * @param actual What a kernel says.
 * @param expected What the reference says, as long.
 * @returns The difference; Infinity when the lengths differ or a number is NaN.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let most = 0;
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (Number.isNaN(difference)) return Infinity;
    most = Math.max(most, difference);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return most / largest;
}

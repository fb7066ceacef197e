/**
 * Symmetric 8-bit weights in groups: 32 neighbours along the axis that a product sums over share one
 * scale, and a weight is its integer times that scale.
 *
 * Letters: O matrices, C length of the summed axis, G = ⌈C / 32⌉ groups, I numbers that share a place
 * on it.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { GROUP_SIZE, roundToInteger, storedScale } from "./group_scale.ts";
import type { MatrixLayout } from "./matrix_layout.ts";

export { GROUP_SIZE };

/** Integers are −127…127: symmetric, so that −x is as exact as x. */
const LARGEST = 127;

/** A tensor in 8 bits. */
export interface Int8Tensor {
  /** Bits of an integer. */
  readonly bits: 8;
  /** Path with openpi's names. */
  readonly name: string;
  /** Shape in the checkpoint. */
  readonly shape: readonly number[];
  /** The same numbers as matrices `[O, C, I]`. */
  readonly layout: MatrixLayout;
  /** Axis of `[O, C, I]` along which groups lie. */
  readonly groupAxis: 1;
  /** Integers −127…127, `[O, C, I]`, in the order of the checkpoint. */
  readonly values: Int8Array;
  /** Scales `[O, G, I]`; the last group of a matrix may be short. */
  readonly scales: Float16Array;
}

/**
 * Make room for a quantised tensor.
 *
 * @param name Path with openpi's names.
 * @param shape Shape in the checkpoint.
 * @param layout How it is seen as matrices.
 * @returns A tensor of zeros.
 */
export function createInt8Tensor(
  name: string,
  shape: readonly number[],
  layout: MatrixLayout,
): Int8Tensor {
  const { outer, contraction, inner } = layout;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  return {
    bits: 8,
    name,
    shape,
    layout,
    groupAxis: 1,
    values: new Int8Array(outer * contraction * inner),
    scales: new Float16Array(outer * groups * inner),
  };
}

/**
 * Bytes of a quantised tensor.
 *
 * @param tensor The tensor.
 */
export function int8Bytes({ values, scales }: Int8Tensor): number {
  return values.byteLength + scales.byteLength;
}

/** Groups of 32 numbers that are neighbours in memory: I is 1. */
function quantizeRun(source: Float32Array, start: number, matrix: number, out: Int8Tensor): void {
  const { values, scales, name, layout: { contraction } } = out;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const shift = matrix * contraction - start;
  for (let group = 0; group < groups; group++) {
    const from = start + group * GROUP_SIZE;
    const end = Math.min(from + GROUP_SIZE, start + contraction);
    let most = 0;
    for (let i = from; i < end; i++) most = Math.max(most, Math.abs(source[i]));
    const scale = storedScale(most, LARGEST, name);
    scales[matrix * groups + group] = scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = from; i < end; i++) values[i + shift] = roundToInteger(source[i] * inverse);
  }
}

/** Groups of 32 rows: each column of them shares a scale. */
function quantizeColumns(
  source: Float32Array,
  start: number,
  matrix: number,
  out: Int8Tensor,
): void {
  const { values, scales, name, layout: { contraction, inner } } = out;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const most = new Float64Array(inner);
  const shift = matrix * contraction * inner - start;
  for (let group = 0; group < groups; group++) {
    const end = Math.min((group + 1) * GROUP_SIZE, contraction);
    most.fill(0);
    for (let row = group * GROUP_SIZE; row < end; row++) {
      const from = start + row * inner;
      for (let i = 0; i < inner; i++) most[i] = Math.max(most[i], Math.abs(source[from + i]));
    }
    const place = (matrix * groups + group) * inner;
    for (let i = 0; i < inner; i++) {
      const scale = storedScale(most[i], LARGEST, name);
      scales[place + i] = scale;
      most[i] = scale === 0 ? 0 : 1 / scale;
    }
    for (let row = group * GROUP_SIZE; row < end; row++) {
      const from = start + row * inner;
      const to = from + shift;
      for (let i = 0; i < inner; i++) {
        values[to + i] = roundToInteger(source[from + i] * most[i]);
      }
    }
  }
}

/**
 * Quantise one matrix into its place.
 *
 * @param source Float32 numbers.
 * @param start Where the matrix `[C, I]` begins in them.
 * @param matrix Which matrix it is, 0…O−1.
 * @param out Where it goes.
 * @throws {RangeError} When a number is not finite, or so large that its scale is not.
 */
export function quantizeMatrix(
  source: Float32Array,
  start: number,
  matrix: number,
  out: Int8Tensor,
): void {
  if (out.layout.inner === 1) quantizeRun(source, start, matrix, out);
  else quantizeColumns(source, start, matrix, out);
}

/**
 * Turn a quantised tensor back into float32.
 *
 * @param tensor The tensor.
 * @returns It in the checkpoint's shape; each number within half a scale of what it was.
 */
export function dequantize({ name, shape, layout, values, scales }: Int8Tensor): HostTensor {
  const { outer, contraction, inner } = layout;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const data = new Float32Array(values.length);
  for (let o = 0; o < outer; o++) {
    for (let c = 0; c < contraction; c++) {
      const from = (o * contraction + c) * inner;
      const group = (o * groups + Math.floor(c / GROUP_SIZE)) * inner;
      for (let i = 0; i < inner; i++) data[from + i] = values[from + i] * scales[group + i];
    }
  }
  return { name, shape, data };
}

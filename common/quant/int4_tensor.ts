/**
 * Symmetric 4-bit weights in groups: 32 neighbours along the axis that a product sums over share one
 * scale, and a weight is its integer −7…7 times that scale.
 *
 * The integers lie as kernels read them, not as the checkpoint has them: eight to a 32-bit word, the
 * first in the lowest bits, and the four words of a group together, so that a group is one vector of
 * four words and a row is as many of them as it has groups.
 *
 * Letters as for 8 bits: O matrices, C length of the summed axis, G = ⌈C / 32⌉ groups, I numbers that
 * share a place on it.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { GROUP_SIZE, roundToInteger, storedScale } from "./group_scale.ts";
import type { MatrixLayout } from "./matrix_layout.ts";

/** Integers are −7…7: symmetric, so that −x is as exact as x. */
const LARGEST = 7;
/** Words of a group. */
const GROUP_WORDS = 4;
/** Integers of a word. */
const PER_WORD = 8;
/** Columns that are packed together: their numbers are neighbours in the checkpoint. */
const BLOCK_COLUMNS = 64;

/** A tensor in 4 bits. */
export interface Int4Tensor {
  /** Bits of an integer. */
  readonly bits: 4;
  /** Path with openpi's names. */
  readonly name: string;
  /** Shape in the checkpoint. */
  readonly shape: readonly number[];
  /** The same numbers as matrices `[O, C, I]`. */
  readonly layout: MatrixLayout;
  /** Integers −7…7 in two's complement, `[O, I, 4 · G]`; what a short last group lacks is 0. */
  readonly values: Int32Array;
  /** Scales `[O, I, G]`. */
  readonly scales: Float16Array;
}

/**
 * Make room for a tensor in 4 bits.
 *
 * @param name Path with openpi's names.
 * @param shape Shape in the checkpoint.
 * @param layout How it is seen as matrices.
 * @returns A tensor of zeros.
 */
export function createInt4Tensor(
  name: string,
  shape: readonly number[],
  layout: MatrixLayout,
): Int4Tensor {
  const { outer, contraction, inner } = layout;
  const groups = outer * inner * Math.ceil(contraction / GROUP_SIZE);
  return {
    bits: 4,
    name,
    shape,
    layout,
    values: new Int32Array(groups * GROUP_WORDS),
    scales: new Float16Array(groups),
  };
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
export function quantizeMatrix4(
  source: Float32Array,
  start: number,
  matrix: number,
  out: Int4Tensor,
): void {
  const { values, scales, name, layout: { contraction, inner } } = out;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const most = new Float64Array(BLOCK_COLUMNS);
  for (let column = 0; column < inner; column += BLOCK_COLUMNS) {
    const width = Math.min(BLOCK_COLUMNS, inner - column);
    for (let group = 0; group < groups; group++) {
      const from = group * GROUP_SIZE;
      const end = Math.min(from + GROUP_SIZE, contraction);
      most.fill(0);
      for (let c = from; c < end; c++) {
        const at = start + c * inner + column;
        for (let i = 0; i < width; i++) most[i] = Math.max(most[i], Math.abs(source[at + i]));
      }
      const place = (matrix * inner + column) * groups + group;
      for (let i = 0; i < width; i++) {
        const scale = storedScale(most[i], LARGEST, name);
        scales[place + i * groups] = scale;
        most[i] = scale === 0 ? 0 : 1 / scale;
      }
      for (let c = from; c < end; c++) {
        const at = start + c * inner + column;
        const word = (c - from) >> 3;
        const shift = 4 * ((c - from) % PER_WORD);
        for (let i = 0; i < width; i++) {
          const integer = roundToInteger(source[at + i] * most[i]);
          values[(place + i * groups) * GROUP_WORDS + word] |= (integer & 15) << shift;
        }
      }
    }
  }
}

/**
 * Turn a tensor in 4 bits back into float32.
 *
 * @param tensor The tensor.
 * @returns It in the checkpoint's shape; each number within half a scale of what it was.
 */
export function dequantize4({ name, shape, layout, values, scales }: Int4Tensor): HostTensor {
  const { outer, contraction, inner } = layout;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const data = new Float32Array(outer * contraction * inner);
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < inner; i++) {
      const place = (o * inner + i) * groups;
      for (let c = 0; c < contraction; c++) {
        const group = place + Math.floor(c / GROUP_SIZE);
        const word = values[group * GROUP_WORDS + ((c % GROUP_SIZE) >> 3)];
        const integer = word << (28 - 4 * (c % PER_WORD)) >> 28;
        data[(o * contraction + c) * inner + i] = integer * scales[group];
      }
    }
  }
  return { name, shape, data };
}

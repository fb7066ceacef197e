/**
 * Quantised weights as kernels read them: row by row along the axis that a product sums over.
 *
 * A row holds the integers of one output, in two's complement, the first of each 32-bit word in its
 * lowest bits. A group of 32 takes as many words as an integer has bits, 8 or 4, so rows and groups
 * begin at multiples of four words and a GPU reads them as `vec4<i32>`. Scales lie apart, two
 * half-precision numbers a word, the first in the lower half.
 *
 * Letters: N rows, K columns, G = ⌈K / 32⌉ groups of a row.
 *
 * @module
 */

import { GROUP_SIZE } from "./group_scale.ts";
import type { Int8Tensor } from "./int8_tensor.ts";
import type { Bits, QuantizedTensor } from "./quantized_tensor.ts";

/** Numbers are transposed in squares of this side, whose rows on both sides stay in the CPU's cache. */
const TILE = 64;

/** A matrix in few bits, packed. */
export interface PackedMatrix {
  /** Bits of an integer. */
  readonly bits: Bits;
  /** N: outputs of a product. */
  readonly rows: number;
  /** K: length of the axis that a product sums over. */
  readonly columns: number;
  /** Integers, `[N, bits · G]`; what a short last group lacks is 0. */
  readonly words: Int32Array;
  /** Scales, `[N, ⌈G / 2⌉]`: two half-precision numbers a word. */
  readonly scales: Int32Array;
}

/**
 * Words of a packed row.
 *
 * @param bits Of an integer.
 * @param columns K.
 * @returns How many hold integers and how many hold scales.
 */
export function rowWords(bits: Bits, columns: number): { values: number; scales: number } {
  const groups = Math.ceil(columns / GROUP_SIZE);
  return { values: bits * groups, scales: Math.ceil(groups / 2) };
}

/**
 * Pack some matrices of a tensor one below the other: `[count, C, I]` becomes rows `[count · I, C]`.
 *
 * @param tensor The tensor `[O, C, I]`.
 * @param first Its first matrix that is wanted.
 * @param count How many, such as the heads of a layer.
 */
export function packMatrices(tensor: QuantizedTensor, first: number, count: number): PackedMatrix {
  const { bits, layout: { contraction, inner } } = tensor;
  const rows = count * inner;
  const groups = Math.ceil(contraction / GROUP_SIZE);
  const width = rowWords(bits, contraction);
  const scales = new Int32Array(rows * width.scales);
  const halves = new Float16Array(scales.buffer);
  const firstRow = first * inner;
  if (tensor.bits === 4) {
    for (let row = 0; row < rows; row++) {
      const from = (firstRow + row) * groups;
      halves.set(tensor.scales.subarray(from, from + groups), row * 2 * width.scales);
    }
    const words = tensor.values.slice(firstRow * width.values, (firstRow + rows) * width.values);
    return { bits, rows, columns: contraction, words, scales };
  }
  const words = new Int32Array(rows * width.values);
  const bytes = new Int8Array(words.buffer);
  const rowBytes = 4 * width.values;
  for (let matrix = 0; matrix < count; matrix++) {
    for (let group = 0; group < groups; group++) {
      const from = ((first + matrix) * groups + group) * inner;
      const to = matrix * inner * 2 * width.scales + group;
      for (let i = 0; i < inner; i++) halves[to + i * 2 * width.scales] = tensor.scales[from + i];
    }
    for (let c = 0; c < contraction; c += TILE) {
      const cEnd = Math.min(c + TILE, contraction);
      for (let i = 0; i < inner; i += TILE) {
        const tile = { matrix: first + matrix, c, cEnd, i, iEnd: Math.min(i + TILE, inner) };
        transposeTile(tensor, tile, bytes, matrix * inner * rowBytes, rowBytes);
      }
    }
  }
  return { bits, rows, columns: contraction, words, scales };
}

/** Numbers `[c…cEnd, i…iEnd]` of a matrix become bytes of rows i: column c of row i at `to`. */
function transposeTile(
  { values, layout: { contraction, inner } }: Int8Tensor,
  { matrix, c, cEnd, i, iEnd }: {
    readonly matrix: number;
    readonly c: number;
    readonly cEnd: number;
    readonly i: number;
    readonly iEnd: number;
  },
  bytes: Int8Array,
  to: number,
  rowBytes: number,
): void {
  for (let row = i; row < iEnd; row++) {
    const at = to + row * rowBytes;
    let from = (matrix * contraction + c) * inner + row;
    for (let column = c; column < cEnd; column++, from += inner) bytes[at + column] = values[from];
  }
}

/**
 * Dequantise rows of a packed matrix.
 *
 * @param matrix The matrix.
 * @param firstRow First row that is wanted.
 * @param rowCount How many.
 * @param out Where they go, `[rowCount, K]`.
 */
export function unpackRows(
  { bits, columns, words, scales }: PackedMatrix,
  firstRow: number,
  rowCount: number,
  out: Float32Array,
): void {
  const width = rowWords(bits, columns);
  const halves = new Float16Array(scales.buffer, scales.byteOffset, 2 * scales.length);
  const perWord = 32 / bits;
  const unused = 32 - bits;
  for (let row = 0; row < rowCount; row++) {
    const wordAt = (firstRow + row) * width.values;
    const scaleAt = (firstRow + row) * 2 * width.scales;
    const to = row * columns;
    for (let from = 0; from < columns; from += GROUP_SIZE) {
      const scale = halves[scaleAt + from / GROUP_SIZE];
      const end = Math.min(from + GROUP_SIZE, columns);
      for (let c = from; c < end; c++) {
        const word = words[wordAt + Math.floor(c / perWord)];
        out[to + c] = (word << (unused - bits * (c % perWord)) >> unused) * scale;
      }
    }
  }
}

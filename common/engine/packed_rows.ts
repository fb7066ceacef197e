/**
 * Rows of matrices as an engine keeps them: packed in few bits as `common/quant/packed_matrix.ts` lays
 * them out, or plain floats.
 *
 * @module
 */

import { GROUP_SIZE } from "../quant/group_scale.ts";
import type { MatrixLayout } from "../quant/matrix_layout.ts";
import { type PackedMatrix, rowWords, unpackRows } from "../quant/packed_matrix.ts";
import type { Bits } from "../quant/quantized_tensor.ts";

/** Floats are transposed in squares of this side. */
const SQUARE = 32;

/** Bits of a weight; 32 is a plain float. */
export type WeightBits = Bits | 32;

/**
 * A matrix in few bits, packed, or in float32: then `words` are the floats' bits, rows padded with zeros
 * to a multiple of 32, and there are no scales.
 */
export interface MatrixRows extends Omit<PackedMatrix, "bits"> {
  /** Bits of a weight. */
  readonly bits: WeightBits;
}

/**
 * Words of a row, as {@link rowWords} has them for few bits.
 *
 * @param bits Of a weight.
 * @param columns C.
 * @returns How many hold weights and how many hold scales.
 */
export function weightWords(
  bits: WeightBits,
  columns: number,
): { values: number; scales: number } {
  return bits === 32 ? { values: paddedColumns(columns), scales: 0 } : rowWords(bits, columns);
}

/**
 * Length of a vector that a packed row is multiplied with.
 *
 * @param columns C.
 * @returns The next multiple of 32; what is behind C is zero on both sides.
 */
export function paddedColumns(columns: number): number {
  return Math.ceil(columns / GROUP_SIZE) * GROUP_SIZE;
}

/**
 * Make room for a matrix.
 *
 * @param like A matrix of the same bits and columns.
 * @param rows R.
 * @returns A matrix of zeros.
 */
export function emptyRows(
  { bits, columns }: Pick<MatrixRows, "bits" | "columns">,
  rows: number,
): MatrixRows {
  const { values, scales } = weightWords(bits, columns);
  return {
    bits,
    rows,
    columns,
    words: new Int32Array(rows * values),
    scales: new Int32Array(rows * scales),
  };
}

/**
 * Put the rows of a matrix into another order.
 *
 * @param source The matrix `[R, C]`.
 * @param rowOf Where row r goes, 0…R−1, each once.
 * @returns The matrix in its new order.
 */
export function reorderRows<M extends MatrixRows>(source: M, rowOf: (row: number) => number): M {
  const target = { ...source, ...emptyRows(source, source.rows) };
  const width = weightWords(source.bits, source.columns);
  for (let row = 0; row < source.rows; row++) {
    const to = rowOf(row);
    const words = source.words.subarray(row * width.values, (row + 1) * width.values);
    target.words.set(words, to * width.values);
    const scales = source.scales.subarray(row * width.scales, (row + 1) * width.scales);
    target.scales.set(scales, to * width.scales);
  }
  return target;
}

/**
 * Matrices `[C, I]` of an array in float32 one below the other, as rows `[count · I, C]`.
 *
 * @param data The array's numbers.
 * @param layout How it is seen as matrices.
 * @param first Its first matrix that is wanted.
 * @param count How many.
 */
export function floatRows(
  data: Float32Array,
  { contraction, inner }: MatrixLayout,
  first: number,
  count: number,
): MatrixRows {
  const rows = emptyRows({ bits: 32, columns: contraction }, count * inner);
  const floats = new Float32Array(rows.words.buffer);
  const stride = paddedColumns(contraction);
  for (let matrix = 0; matrix < count; matrix++) {
    const start = (first + matrix) * contraction * inner;
    const to = matrix * inner * stride;
    if (inner === 1) {
      floats.set(data.subarray(start, start + contraction), to);
      continue;
    }
    // In squares, whose rows on both sides stay in the CPU's cache.
    for (let c = 0; c < contraction; c += SQUARE) {
      const cEnd = Math.min(c + SQUARE, contraction);
      for (let i = 0; i < inner; i += SQUARE) {
        for (let row = i; row < Math.min(i + SQUARE, inner); row++) {
          const at = to + row * stride;
          for (let k = c; k < cEnd; k++) floats[at + k] = data[start + k * inner + row];
        }
      }
    }
  }
  return rows;
}

/**
 * Dequantise a whole matrix. Nothing is lost: an integer times a half-precision scale is a float32.
 *
 * @param matrix In any number of bits.
 * @returns `[R, C]`, without padding.
 */
export function toFloats(matrix: MatrixRows): Float32Array<ArrayBuffer> {
  const { bits, rows, columns, words } = matrix;
  const out = new Float32Array(rows * columns);
  if (bits !== 32) {
    unpackRows({ ...matrix, bits }, 0, rows, out);
    return out;
  }
  const stride = paddedColumns(columns);
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  for (let row = 0; row < rows; row++) {
    out.set(floats.subarray(row * stride, row * stride + columns), row * columns);
  }
  return out;
}

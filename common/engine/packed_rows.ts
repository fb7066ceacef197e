/**
 * Packed matrices put together from rows of others, as `common/quant/packed_matrix.ts` lays them out.
 *
 * @module
 */

import { GROUP_SIZE } from "../quant/group_scale.ts";
import { type PackedMatrix, rowWords } from "../quant/packed_matrix.ts";

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
 * Make room for a packed matrix.
 *
 * @param like A matrix of the same bits and columns.
 * @param rows R.
 * @returns A matrix of zeros.
 */
export function emptyRows(
  { bits, columns }: Pick<PackedMatrix, "bits" | "columns">,
  rows: number,
): PackedMatrix {
  const { values, scales } = rowWords(bits, columns);
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
export function reorderRows(source: PackedMatrix, rowOf: (row: number) => number): PackedMatrix {
  const target = emptyRows(source, source.rows);
  const width = rowWords(source.bits, source.columns);
  for (let row = 0; row < source.rows; row++) {
    const to = rowOf(row);
    const words = source.words.subarray(row * width.values, (row + 1) * width.values);
    target.words.set(words, to * width.values);
    const scales = source.scales.subarray(row * width.scales, (row + 1) * width.scales);
    target.scales.set(scales, to * width.scales);
  }
  return target;
}

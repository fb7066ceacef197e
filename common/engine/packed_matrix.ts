/**
 * Int8 matrices as the kernels read them: one row of weights after the other, so that threads side by
 * side read bytes side by side.
 *
 * Letters: R rows (outputs), C columns (summed over), G = ⌈C / 32⌉ groups of a row.
 *
 * A row of weights is C bytes, filled with zeros to a multiple of 32: `vec4<u32>` holds 16 of them. A
 * row of scales is G half-precision numbers, filled to an even count: a `u32` holds two. Half precision
 * is how the host stores scales too, so nothing is rounded again, and `unpack2x16float` reads them on
 * every device.
 *
 * @module
 */

import { GROUP_SIZE, type Int8Tensor } from "../quant/int8_tensor.ts";

/** Columns and rows are copied in squares of this side, so that both stay in the CPU's cache. */
const COPY_TILE = 64;

/** A packed matrix in host memory. */
export interface PackedMatrix {
  /** R. */
  readonly rows: number;
  /** C, without padding. */
  readonly columns: number;
  /** `[R, rowBytes(C)]`. */
  readonly values: Int8Array<ArrayBuffer>;
  /** `[R, 2 · scaleWords(C)]`: bits of half-precision numbers. */
  readonly scales: Uint16Array<ArrayBuffer>;
}

/**
 * C with its padding: bytes of a packed row, and the length of a vector that is multiplied with it.
 *
 * @param columns C.
 * @returns The next multiple of 32.
 */
export function paddedColumns(columns: number): number {
  return Math.ceil(columns / GROUP_SIZE) * GROUP_SIZE;
}

/**
 * `u32` words that hold the scales of a row.
 *
 * @param columns C.
 * @returns Words, two scales in each.
 */
export function scaleWords(columns: number): number {
  return Math.ceil(Math.ceil(columns / GROUP_SIZE) / 2);
}

/**
 * Make room for a packed matrix.
 *
 * @param rows R.
 * @param columns C.
 * @returns A matrix of zeros.
 * @throws {RangeError} If a size is not a positive integer.
 */
export function createPackedMatrix(rows: number, columns: number): PackedMatrix {
  if (![rows, columns].every((n) => Number.isInteger(n) && n > 0)) {
    throw new RangeError(
      `Cannot pack a matrix of ${rows} rows and ${columns} columns: both must be integers ≥ 1`,
    );
  }
  return {
    rows,
    columns,
    values: new Int8Array(rows * paddedColumns(columns)),
    scales: new Uint16Array(rows * 2 * scaleWords(columns)),
  };
}

/**
 * Copy one matrix `[C, I]` of a quantised tensor: its I columns become rows of a packed matrix.
 *
 * @param source The tensor.
 * @param matrix Which of its matrices.
 * @param target Where it goes; C columns.
 * @param rowOf The packed row of column i.
 * @throws {RangeError} If the matrix has another number of columns, or a row is not there.
 */
export function packMatrix(
  source: Int8Tensor,
  matrix: number,
  target: PackedMatrix,
  rowOf: (column: number) => number,
): void {
  const { contraction: C, inner: I } = source.layout;
  if (C !== target.columns) {
    throw new RangeError(
      `Cannot pack ${source.name}: it sums over ${C} numbers, its place over ${target.columns}`,
    );
  }
  const rows = Int32Array.from({ length: I }, (_, i) => rowOf(i));
  const stray = rows.find((row) => row < 0 || row >= target.rows);
  if (stray !== undefined) {
    throw new RangeError(
      `Cannot pack ${source.name}: row ${stray} is none of the ${target.rows} rows of its place`,
    );
  }
  const values = source.values;
  const scales = new Uint16Array(
    source.scales.buffer,
    source.scales.byteOffset,
    source.scales.length,
  );
  const groups = Math.ceil(C / GROUP_SIZE);
  copyTransposed(values, matrix * C, C, I, target.values, paddedColumns(C), rows);
  copyTransposed(
    scales,
    matrix * groups,
    groups,
    I,
    target.scales,
    2 * scaleWords(C),
    rows,
  );
}

/** Element (c, i) of `[count, inner]` at row `first` goes to `rows[i] · stride + c`. */
function copyTransposed<T extends Int8Array | Uint16Array>(
  from: T,
  first: number,
  count: number,
  inner: number,
  to: T,
  stride: number,
  rows: Int32Array,
): void {
  for (let c0 = 0; c0 < count; c0 += COPY_TILE) {
    const cEnd = Math.min(c0 + COPY_TILE, count);
    for (let i0 = 0; i0 < inner; i0 += COPY_TILE) {
      const iEnd = Math.min(i0 + COPY_TILE, inner);
      for (let i = i0; i < iEnd; i++) {
        const at = rows[i] * stride;
        for (let c = c0; c < cEnd; c++) to[at + c] = from[(first + c) * inner + i];
      }
    }
  }
}

/**
 * One row in float64, for references and tests.
 *
 * @param matrix The matrix.
 * @param row Which row.
 * @returns `[C]`, dequantised.
 */
export function unpackRow({ columns, values, scales }: PackedMatrix, row: number): Float64Array {
  const bytes = paddedColumns(columns);
  const halves = new Float16Array(scales.buffer, scales.byteOffset, scales.length);
  const at = row * 2 * scaleWords(columns);
  return Float64Array.from(
    { length: columns },
    (_, c) => values[row * bytes + c] * halves[at + Math.floor(c / GROUP_SIZE)],
  );
}

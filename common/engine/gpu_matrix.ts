/**
 * Packed int8 matrices on the GPU, split by rows where one binding cannot hold them.
 *
 * @module
 */

import type { GpuBuffers } from "./gpu_buffers.ts";
import { type PackedMatrix, paddedColumns, scaleWords } from "./packed_matrix.ts";

/** Some rows of a matrix. */
export interface MatrixShard {
  /** Its first row. */
  readonly firstRow: number;
  /** How many rows. */
  readonly rows: number;
  /** Weights, `vec4<u32>`. */
  readonly values: GPUBuffer;
  /** Scales, `u32`. */
  readonly scales: GPUBuffer;
  /** Uniform `[firstRow, rows, 0, 0]`. */
  readonly place: GPUBuffer;
}

/** A matrix on the GPU. */
export interface GpuMatrix {
  /** R. */
  readonly rows: number;
  /** C. */
  readonly columns: number;
  /** Its parts in order of rows. */
  readonly shards: readonly MatrixShard[];
}

/** Rows of a shard are a multiple of this, so that no kernel's rows lie in two of them. */
const SHARD_ROWS = 64;

/**
 * Rows that one binding holds.
 *
 * @param columns C.
 * @param limit Bytes of a binding.
 * @returns A multiple of 64.
 * @throws {RangeError} If not even 64 rows fit.
 */
export function rowsPerShard(columns: number, limit: number): number {
  const rows = Math.floor(limit / paddedColumns(columns) / SHARD_ROWS) * SHARD_ROWS;
  if (rows === 0) {
    throw new RangeError(
      `Cannot split a matrix of ${columns} columns: ${SHARD_ROWS} rows take ` +
        `${SHARD_ROWS * paddedColumns(columns)} bytes, a binding holds ${limit}`,
    );
  }
  return rows;
}

/**
 * Make room for a matrix.
 *
 * @param buffers Owner of what is made.
 * @param label Its name in error messages.
 * @param rows R.
 * @param columns C.
 * @param limit Most bytes of a binding; the device's by default. Smaller in tests.
 * @returns A matrix of zeros.
 */
export function createGpuMatrix(
  buffers: GpuBuffers,
  label: string,
  rows: number,
  columns: number,
  limit: number = buffers.device.limits.maxStorageBufferBindingSize,
): GpuMatrix {
  const most = rowsPerShard(columns, limit);
  const shards: MatrixShard[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const count = Math.min(most, rows - firstRow);
    shards.push({
      firstRow,
      rows: count,
      values: buffers.storage(`${label} values`, count * paddedColumns(columns)),
      scales: buffers.storage(`${label} scales`, count * 4 * scaleWords(columns)),
      place: buffers.uniform(`${label} place`, [firstRow, count, 0, 0]),
    });
  }
  return { rows, columns, shards };
}

/**
 * Copy a matrix from the host. Buffers stay the same.
 *
 * @param device The device.
 * @param matrix Where it goes.
 * @param packed What to copy, of the same size.
 * @throws {RangeError} If the sizes differ.
 */
export function writeGpuMatrix(device: GPUDevice, matrix: GpuMatrix, packed: PackedMatrix): void {
  if (packed.rows !== matrix.rows || packed.columns !== matrix.columns) {
    throw new RangeError(
      `Cannot write a matrix of ${packed.rows} × ${packed.columns} into one of ` +
        `${matrix.rows} × ${matrix.columns}`,
    );
  }
  const valueBytes = paddedColumns(packed.columns);
  const scaleCount = 2 * scaleWords(packed.columns);
  for (const { firstRow, rows, values, scales } of matrix.shards) {
    const end = firstRow + rows;
    const weights = packed.values.subarray(firstRow * valueBytes, end * valueBytes);
    device.queue.writeBuffer(values, 0, weights);
    const halves = packed.scales.subarray(firstRow * scaleCount, end * scaleCount);
    device.queue.writeBuffer(scales, 0, halves);
  }
}

/**
 * Bytes that a product with the matrix reads.
 * @param matrix Its sizes.
 */
export function matrixBytes({ rows, columns }: Pick<GpuMatrix, "rows" | "columns">): number {
  return rows * (paddedColumns(columns) + 4 * scaleWords(columns));
}

/**
 * Matrices on the GPU, split by rows where one binding cannot hold them.
 *
 * @module
 */

import type { GpuBuffers } from "./gpu_buffers.ts";
import { type MatrixRows, type WeightBits, weightWords } from "./packed_rows.ts";

/** Some rows of a matrix. */
export interface MatrixShard {
  /** Its first row. */
  readonly firstRow: number;
  /** How many rows. */
  readonly rows: number;
  /** Weights: `vec4<u32>`, or `vec4<f32>` where they are plain floats. */
  readonly values: GPUBuffer;
  /** Scales, `u32`; nothing where weights are plain floats. */
  readonly scales: GPUBuffer;
  /** Uniform `[firstRow, rows, 0, 0]`. */
  readonly place: GPUBuffer;
}

/** A matrix on the GPU. */
export interface GpuMatrix {
  /** Bits of a weight. */
  readonly bits: WeightBits;
  /** R. */
  readonly rows: number;
  /** C. */
  readonly columns: number;
  /** Its parts in order of rows. */
  readonly shards: readonly MatrixShard[];
}

/** Rows of a shard are a multiple of this: kernels hand over rows in pairs. */
const SHARD_ROWS = 2;

/**
 * Rows that one binding holds.
 *
 * @param bits Bits of a weight.
 * @param columns C.
 * @param limit Bytes of a binding.
 * @returns An even number.
 * @throws {RangeError} If not even two rows fit.
 */
export function rowsPerShard(bits: WeightBits, columns: number, limit: number): number {
  const rowBytes = 4 * weightWords(bits, columns).values;
  const rows = Math.floor(limit / rowBytes / SHARD_ROWS) * SHARD_ROWS;
  if (rows === 0) {
    throw new RangeError(
      `Cannot split a matrix of ${columns} columns: two rows take ` +
        `${SHARD_ROWS * rowBytes} bytes, a binding holds ${limit}`,
    );
  }
  return rows;
}

function largestBinding({ limits }: GPUDevice): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/**
 * Make room for a matrix.
 *
 * @param buffers Owner of what is made.
 * @param label Its name in error messages.
 * @param size Bits of a weight, R and C.
 * @param limit Most bytes of a binding; the device's by default. Smaller in tests.
 * @returns A matrix of zeros.
 */
export function createGpuMatrix(
  buffers: GpuBuffers,
  label: string,
  { bits, rows, columns }: Pick<GpuMatrix, "bits" | "rows" | "columns">,
  limit: number = largestBinding(buffers.device),
): GpuMatrix {
  const most = rowsPerShard(bits, columns, limit);
  const width = weightWords(bits, columns);
  const shards: MatrixShard[] = [];
  for (let firstRow = 0; firstRow < rows; firstRow += most) {
    const count = Math.min(most, rows - firstRow);
    shards.push({
      firstRow,
      rows: count,
      values: buffers.storage(`${label} values`, count * 4 * width.values),
      scales: buffers.storage(`${label} scales`, count * 4 * width.scales),
      place: buffers.uniform(`${label} place`, [firstRow, count, 0, 0]),
    });
  }
  return { bits, rows, columns, shards };
}

/**
 * Copy rows from the host. Buffers stay the same.
 *
 * @param device The device.
 * @param matrix Where they go.
 * @param firstRow The row of the matrix that the first goes to.
 * @param packed The rows.
 * @throws {RangeError} If they do not fit.
 */
export function writeRows(
  device: GPUDevice,
  matrix: GpuMatrix,
  firstRow: number,
  packed: MatrixRows,
): void {
  const end = firstRow + packed.rows;
  const { bits, rows, columns } = matrix;
  if (firstRow < 0 || end > rows || packed.columns !== columns || packed.bits !== bits) {
    throw new RangeError(
      `Cannot write rows ${firstRow}…${
        end - 1
      } of ${packed.columns} numbers in ${packed.bits} bits ` +
        `into a matrix of ${rows} × ${columns} in ${bits}`,
    );
  }
  const width = weightWords(bits, columns);
  for (const shard of matrix.shards) {
    const from = Math.max(firstRow, shard.firstRow);
    const to = Math.min(end, shard.firstRow + shard.rows);
    if (from >= to) continue;
    const write = (target: GPUBuffer, words: Int32Array, perRow: number) => {
      const begin = (from - firstRow) * perRow;
      const at = 4 * (from - shard.firstRow) * perRow;
      device.queue.writeBuffer(
        target,
        at,
        words.buffer as ArrayBuffer,
        words.byteOffset + 4 * begin,
        4 * (to - from) * perRow,
      );
    };
    write(shard.values, packed.words, width.values);
    if (width.scales > 0) write(shard.scales, packed.scales, width.scales);
  }
  // What is written waits in memory until something is submitted: a model would be there twice.
  device.queue.submit([]);
}

/**
 * Bytes that a product with the matrix reads.
 * @param matrix Its sizes.
 */
export function matrixBytes(
  { bits, rows, columns }: Pick<GpuMatrix, "bits" | "rows" | "columns">,
): number {
  const { values, scales } = weightWords(bits, columns);
  return 4 * rows * (values + scales);
}

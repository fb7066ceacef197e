import assert from "node:assert/strict";
import { createGpuMatrix, writeRows } from "../gpu_matrix.ts";
import { emptyRows, type MatrixRows, paddedColumns, type WeightBits } from "../packed_rows.ts";
import { referenceMatvec, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  runKernel,
  stateWords,
  upload,
} from "../testing.ts";
import { storePlain } from "./epilogues.ts";
import { DEFAULT_MATVEC, matvecKernel } from "./matvec.ts";

const TOLERANCE = 2e-3;
/** As much as the software renderer binds; larger bindings of other devices would take too long. */
const MOST_BYTES = 1 << 27;
/** Odd groups, so that rows of scales have a tail too. */
const COLUMNS = 4064;

/** A large matrix: a few thousand random words over and over. */
function largeMatrix(bits: WeightBits, rows: number): MatrixRows {
  const matrix = emptyRows({ bits, columns: COLUMNS }, rows);
  const block = bits === 32
    ? new Int32Array(noise(1, 5003).buffer)
    : new Int32Array(noise(1, 5003).map((v) => v * 2 ** 31));
  for (let at = 0; at < matrix.words.length; at += block.length) {
    matrix.words.set(block.subarray(0, matrix.words.length - at), at);
  }
  new Float16Array(matrix.scales.buffer).fill(2 ** -8);
  return matrix;
}

/** Some rows by themselves. */
function someRows(matrix: MatrixRows, rows: readonly number[]): MatrixRows {
  const some = emptyRows(matrix, rows.length);
  const [values, scales] = [matrix.words, matrix.scales].map((all) => all.length / matrix.rows);
  rows.forEach((row, i) => {
    some.words.set(matrix.words.subarray(row * values, (row + 1) * values), i * values);
    some.scales.set(matrix.scales.subarray(row * scales, (row + 1) * scales), i * scales);
  });
  return some;
}

for (const bits of [8, 32] as const) {
  Deno.test({
    name:
      `matvecKernel() reads the largest binding to its end, and the one behind it, ${bits} bits`,
    ignore: !await hasAdapter(),
    async fn() {
      using gpu = await openTestGpu();
      const limit = Math.min(MOST_BYTES, gpu.device.limits.maxStorageBufferBindingSize);
      const fitting = Math.floor(limit / (COLUMNS * bits / 8) / 2) * 2;
      const rows = fitting + 3;
      const source = largeMatrix(bits, rows);
      const matrix = createGpuMatrix(gpu.buffers, "large", source, limit);
      assert.deepEqual(matrix.shards.map((shard) => shard.rows), [fitting, 3]);
      writeRows(gpu.device, matrix, 0, source);
      const x = noise(2, COLUMNS);
      const out = gpu.buffers.storage("out", 4 * paddedColumns(rows));
      const kernel = matvecKernel(
        { label: "test", bits, columns: COLUMNS, isNormed: false, epilogue: storePlain(rows) },
        DEFAULT_MATVEC,
      );
      const shared = {
        state: gpu.buffers.uniform("state", stateWords(0)),
        x: upload(gpu, x),
        out,
      };
      for (const { values, scales, place: shard, rows: count } of matrix.shards) {
        const groups = Math.ceil(count / DEFAULT_MATVEC.rows);
        await runKernel(gpu, kernel, { ...shared, values, scales, shard }, groups);
      }
      const y = new Float32Array(await download(gpu, out));
      const looked = [0, 1, fitting >> 1, fitting - 1, fitting, rows - 1];
      const expected = referenceMatvec(someRows(source, looked), x);
      assert.ok(relativeError(looked.map((row) => y[row]), expected) < TOLERANCE);
    },
  });
}

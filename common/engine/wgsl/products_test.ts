import assert from "node:assert/strict";
import { createGpuMatrix, type GpuMatrix, rowsPerShard, writeRows } from "../gpu_matrix.ts";
import { floatRows, type MatrixRows, paddedColumns, type WeightBits } from "../packed_rows.ts";
import { referenceGelu, referenceMatvec, referenceRmsNorm, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  padRows,
  randomPacked,
  runKernel,
  stateWords,
  type TestGpu,
  upload,
} from "../testing.ts";
import { storeGated, storePlain, storeResidual } from "./epilogues.ts";
import { MATMUL_TILE, matmulKernel } from "./matmul.ts";
import { DEFAULT_MATVEC, matvecKernel, type MatvecShape } from "./matvec.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 2e-3;

/** One row, odd rows, a group tail, less than a group, many groups, more rows than a tile. */
const SHAPES = [
  { rows: 1, columns: 32 },
  { rows: 5, columns: 33 },
  { rows: 67, columns: 70 },
  { rows: 130, columns: 20 },
  { rows: 6, columns: 1100 },
];
const BITS = [8, 4, 32] as const;

function randomMatrix(seed: number, rows: number, columns: number, bits: WeightBits): MatrixRows {
  if (bits !== 32) return randomPacked(seed, rows, columns, bits);
  const layout = { outer: rows, contraction: columns, inner: 1, outerAxes: 1, contractionAxes: 1 };
  return floatRows(noise(seed, rows * columns), layout, 0, rows);
}

function onGpu(gpu: TestGpu, packed: MatrixRows, limit?: number): GpuMatrix {
  const matrix = createGpuMatrix(gpu.buffers, "test", packed, limit);
  writeRows(gpu.device, matrix, 0, packed);
  return matrix;
}

async function matvec(
  gpu: TestGpu,
  packed: MatrixRows,
  x: Float32Array,
  options: { norm?: Float32Array; shape?: MatvecShape; limit?: number; isDone?: boolean } = {},
): Promise<Float32Array> {
  const { norm, shape = DEFAULT_MATVEC, limit, isDone = false } = options;
  const { bits, rows, columns } = packed;
  const kernel = matvecKernel(
    { label: "test", bits, columns, isNormed: norm !== undefined, epilogue: storePlain(rows) },
    shape,
  );
  const out = gpu.buffers.storage("out", 4 * paddedColumns(rows));
  const shared = {
    state: gpu.buffers.uniform("state", stateWords(0, Number(isDone))),
    x: upload(gpu, padRows(x, columns)),
    norm: upload(gpu, padRows(norm ?? x, columns)),
    out,
  };
  for (const { values, scales, place: shard, rows: count } of onGpu(gpu, packed, limit).shards) {
    const groups = Math.ceil(count / shape.rows);
    await runKernel(gpu, kernel, { ...shared, values, scales, shard }, groups);
  }
  return new Float32Array(await download(gpu, out)).slice(0, rows);
}

Deno.test({
  name: "matvecKernel() multiplies at awkward shapes, with and without RMSNorm",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const cases = BITS.flatMap((bits) => SHAPES.map((shape) => ({ ...shape, bits })));
    for (const { rows, columns, bits } of cases) {
      const packed = randomMatrix(rows, rows, columns, bits);
      const x = noise(1, columns);
      const norm = noise(2, columns);
      const plain = await matvec(gpu, packed, x);
      assert.ok(
        relativeError(plain, referenceMatvec(packed, x)) < TOLERANCE,
        `${rows}×${columns}, ${bits} bits`,
      );
      const normed = await matvec(gpu, packed, x, { norm });
      const expected = referenceMatvec(packed, referenceRmsNorm(x, norm));
      assert.ok(
        relativeError(normed, expected) < TOLERANCE,
        `${rows}×${columns} normed, ${bits} bits`,
      );
    }
  },
});

Deno.test({
  name: "matvecKernel() gives the same numbers however the work is divided",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const columns = 4100; // enough to keep 256 threads busy
    const packed = randomPacked(3, 203, columns);
    const x = noise(4, columns);
    const norm = noise(5, columns);
    const expected = referenceMatvec(packed, referenceRmsNorm(x, norm));
    const shapes: MatvecShape[] = [
      { threads: 32, rows: 2, usesSubgroups: false },
      { threads: 64, rows: 8, usesSubgroups: false },
      { threads: 256, rows: 4, usesSubgroups: false },
      ...(gpu.hasSubgroups
        ? [{ threads: 64, rows: 4, usesSubgroups: true }, {
          threads: 256,
          rows: 8,
          usesSubgroups: true,
        }]
        : []),
    ];
    for (const shape of shapes) {
      const y = await matvec(gpu, packed, x, { norm, shape });
      assert.ok(relativeError(y, expected) < TOLERANCE, JSON.stringify(shape));
    }
    // A binding that holds 64 rows: four shards, the last with 11.
    const split = await matvec(gpu, packed, x, { norm, limit: 64 * paddedColumns(columns) + 1 });
    assert.ok(relativeError(split, expected) < TOLERANCE, "split");
    const floats = randomMatrix(3, 203, columns, 32);
    const limit = 64 * 4 * paddedColumns(columns);
    const splitFloats = await matvec(gpu, floats, x, { norm, limit });
    const expectedFloats = referenceMatvec(floats, referenceRmsNorm(x, norm));
    assert.ok(relativeError(splitFloats, expectedFloats) < TOLERANCE, "split floats");
  },
});

Deno.test({
  name: "matvecKernel() leaves everything alone once the chunk is done",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const y = await matvec(gpu, randomPacked(1, 6, 32), noise(1, 32), { isDone: true });
    assert.deepEqual(y, new Float32Array(6));
  },
});

async function matmul(
  gpu: TestGpu,
  packed: MatrixRows,
  x: Float32Array,
  limit?: number,
): Promise<Float32Array> {
  const { bits, rows, columns } = packed;
  const tokens = x.length / columns;
  const start = noise(9, tokens * rows);
  const residual = upload(gpu, padRows(start, rows));
  const kernel = matmulKernel({ label: "test", bits, columns, epilogue: storeResidual(rows) });
  const shared = {
    places: upload(gpu, Uint32Array.of(tokens, tokens, 0, 0, 0, 1)),
    x: upload(gpu, padRows(x, columns)),
    residual,
  };
  for (const { values, scales, place: shard, rows: count } of onGpu(gpu, packed, limit).shards) {
    const groups = [count, tokens].map((n) => Math.ceil(n / MATMUL_TILE));
    await runKernel(gpu, kernel, { ...shared, values, scales, shard }, groups[0], groups[1]);
  }
  const padded = new Float32Array(await download(gpu, residual));
  const stride = paddedColumns(rows);
  return Float32Array.from(start, (before, i) => {
    const at = Math.floor(i / rows) * stride + i % rows;
    return padded[at] - before;
  });
}

Deno.test({
  name: "matmulKernel() multiplies at awkward shapes and adds to what is there",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    for (const [i, { rows, columns }] of SHAPES.entries()) {
      const tokens = [1, 3, 65, 64, 130][i];
      const bits = BITS[i % BITS.length];
      const packed = randomMatrix(rows, rows, columns, bits);
      const x = noise(7, tokens * columns);
      const expected = Array.from(
        { length: tokens },
        (_, t) => [...referenceMatvec(packed, x.subarray(t * columns, (t + 1) * columns))],
      ).flat();
      const whole = await matmul(gpu, packed, x);
      assert.ok(relativeError(whole, expected) < TOLERANCE, `${tokens}×${rows}×${columns}`);
      const rowBytes = paddedColumns(columns) * bits / 8;
      const split = await matmul(gpu, packed, x, 64 * rowBytes);
      assert.ok(relativeError(split, expected) < TOLERANCE, `${tokens}×${rows}×${columns} split`);
    }
  },
});

Deno.test({
  name: "storeGated() multiplies gelu of even rows with odd rows",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const units = 37;
    const packed = randomPacked(11, 2 * units, 64);
    new Int8Array(packed.words.buffer).subarray(0, 64).fill(127); // a gate so large that a naive exp overflows
    new Float16Array(packed.scales.buffer)[0] = 60;
    const x = noise(12, 64).map(Math.abs);
    const { values, scales, place: shard } = onGpu(gpu, packed).shards[0];
    const gated = gpu.buffers.storage("gated", 4 * paddedColumns(units));
    const kernel = matvecKernel(
      { label: "test", bits: 8, columns: 64, isNormed: false, epilogue: storeGated(units) },
      DEFAULT_MATVEC,
    );
    const state = gpu.buffers.uniform("state", stateWords(0));
    const bound = { values, scales, shard, state, x: upload(gpu, x), gated };
    await runKernel(gpu, kernel, bound, Math.ceil(2 * units / DEFAULT_MATVEC.rows));
    const y = referenceMatvec(packed, x);
    const expected = Array.from(
      { length: units },
      (_, f) => referenceGelu(y[2 * f]) * y[2 * f + 1],
    );
    const out = new Float32Array(await download(gpu, gated)).slice(0, units);
    assert.ok(relativeError(out.slice(0, 1), expected.slice(0, 1)) < TOLERANCE);
    assert.ok(relativeError(out.slice(1), expected.slice(1)) < TOLERANCE);
  },
});

Deno.test("rowsPerShard() refuses a binding that holds too few rows", () => {
  assert.equal(rowsPerShard(8, 33, 64 * 130 + 65), 130);
  assert.equal(rowsPerShard(32, 33, 4 * 64 * 130 + 65), 130);
  assert.throws(() => rowsPerShard(8, 2048, 4095), /a binding holds 4095$/);
});

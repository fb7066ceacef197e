import assert from "node:assert/strict";
import { type GpuDevice } from "../../device/gpu_device.ts";
import { openAny } from "../../device/testing.ts";
import type { Bits } from "../../quant/quantized_tensor.ts";
import { hasPackedDots } from "../bind_matmul.ts";
import { GpuBuffers } from "../gpu_buffers.ts";
import { createGpuMatrix, writeRows } from "../gpu_matrix.ts";
import { type Kernel, KernelCache } from "../kernel.ts";
import { floatRows, type MatrixRows, paddedColumns, toFloats } from "../packed_rows.ts";
import { referenceMatvec, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  padRows,
  randomPacked,
  runKernel,
  type TestGpu,
  upload,
} from "../testing.ts";
import { storePlain } from "./epilogues.ts";
import { MATMUL_TILE } from "./matmul.ts";
import { matmulF16Kernel } from "./matmul_f16.ts";
import { matmulInt8Kernel } from "./matmul_int8.ts";
import { QUANTIZE_GROUPS, quantizeRowsKernel, roundedWords } from "./quantize_rows.ts";

const ignore = !await hasAdapter();
/** A device without such shaders is never asked for them. */
const hasF16 = (await navigator.gpu?.requestAdapter())?.features.has("shader-f16") ?? false;
const TOLERANCE = 2e-3;

/** One row and one token, odd rows, a group tail, less than a group, many groups, more than a tile. */
const SHAPES = [
  { tokens: 1, rows: 1, columns: 32 },
  { tokens: 3, rows: 5, columns: 33 },
  { tokens: 65, rows: 67, columns: 70 },
  { tokens: 64, rows: 130, columns: 20 },
  { tokens: 130, rows: 6, columns: 1100 },
];

/** The best device that there is, with every feature. */
async function openFull(): Promise<TestGpu & { readonly gpu: GpuDevice }> {
  const gpu = await openAny();
  const buffers = new GpuBuffers(gpu.device);
  return {
    gpu,
    device: gpu.device,
    buffers,
    kernels: new KernelCache(gpu.device),
    hasSubgroups: gpu.features.hasSubgroups,
    [Symbol.dispose]() {
      buffers[Symbol.dispose]();
      gpu[Symbol.dispose]();
    },
  };
}

/** `[T, R]`: the product of every vector with the matrix. */
async function product(
  gpu: TestGpu,
  kernel: Kernel,
  matrix: MatrixRows,
  tokens: number,
  bound: Readonly<Record<string, GPUBuffer>>,
  limit?: number,
): Promise<Float32Array> {
  const { rows } = matrix;
  const stride = paddedColumns(rows);
  const out = gpu.buffers.storage("out", 4 * tokens * stride);
  const places = upload(gpu, Uint32Array.of(tokens, tokens, 0, 0, 0, 1));
  const onGpu = createGpuMatrix(gpu.buffers, "test", matrix, limit);
  writeRows(gpu.device, onGpu, 0, matrix);
  for (const { values, scales, place: shard, rows: count } of onGpu.shards) {
    const [x, y] = [count, tokens].map((n) => Math.ceil(n / MATMUL_TILE));
    await runKernel(gpu, kernel, { ...bound, places, out, values, scales, shard }, x, y);
  }
  const padded = new Float32Array(await download(gpu, out));
  return Float32Array.from(
    { length: tokens * rows },
    (_, i) => padded[Math.floor(i / rows) * stride + i % rows],
  );
}

/** `[T, R]` by the reference. */
function expectedProduct(matrix: MatrixRows, x: Float32Array): number[] {
  const { columns } = matrix;
  return Array.from(
    { length: x.length / columns },
    (_, t) => [...referenceMatvec(matrix, x.subarray(t * columns, (t + 1) * columns))],
  ).flat();
}

/** Weights rounded to half precision, as plain floats. */
function halved(matrix: MatrixRows): MatrixRows {
  const { rows, columns } = matrix;
  const layout = { outer: rows, contraction: columns, inner: 1, outerAxes: 1, contractionAxes: 1 };
  return floatRows(toFloats(matrix).map(Math.f16round), layout, 0, rows);
}

Deno.test({
  name: "matmulF16Kernel() multiplies numbers of half precision at awkward shapes",
  ignore: ignore || !hasF16,
  async fn() {
    using gpu = await openFull();
    let most = 0;
    for (const [i, { tokens, rows, columns }] of SHAPES.entries()) {
      const bits = ([8, 4, 32] as const)[i % 3];
      const packed = randomPacked(rows, rows, columns, bits === 32 ? 8 : bits);
      const matrix = bits === 32 ? halved(packed) : packed;
      const x = noise(7, tokens * columns);
      const kernel = matmulF16Kernel({ label: "test", bits, columns, epilogue: storePlain(rows) });
      const bound = { x: upload(gpu, padRows(x, columns)) };
      const expected = expectedProduct(halved(matrix), x.map(Math.f16round));
      const whole = await product(gpu, kernel, matrix, tokens, bound);
      assert.ok(relativeError(whole, expected) < TOLERANCE, `${tokens}×${rows}×${columns}`);
      const limit = 64 * paddedColumns(columns) * bits / 8;
      const split = await product(gpu, kernel, matrix, tokens, bound, limit);
      assert.deepEqual(split, whole);
      most = Math.max(most, relativeError(whole, expectedProduct(matrix, x)));
    }
    assert.ok(most < 1e-3, `${most} from the exact product`); // what the kernel's docs say
    gpu.gpu.check();
  },
});

Deno.test({
  name:
    "matmulF16Kernel() takes numbers that half precision cannot hold, and shows what is too large",
  ignore: ignore || !hasF16,
  async fn() {
    using gpu = await openFull();
    const [rows, columns] = [3, 40];
    const matrix = randomPacked(1, rows, columns);
    const kernel = matmulF16Kernel({ label: "test", bits: 8, columns, epilogue: storePlain(rows) });
    for (const size of [1e-3, 1e5]) {
      const x = noise(2, columns).map((v) => v * size);
      const bound = { x: upload(gpu, padRows(x, columns)) };
      const y = await product(gpu, kernel, matrix, 1, bound);
      assert.ok(relativeError(y, expectedProduct(matrix, x)) < TOLERANCE, `numbers up to ${size}`);
    }
    const bound = { x: upload(gpu, padRows(noise(2, columns).fill(1e7, 7, 8), columns)) };
    assert.ok(!(await product(gpu, kernel, matrix, 1, bound)).some(Number.isFinite));
  },
});

/** Rounded vectors, read back: integers and scales as the kernel wrote them. */
async function roundRows(gpu: TestGpu, x: Float32Array, columns: number) {
  const tokens = x.length / columns;
  const { values, total } = roundedWords(columns);
  const rounded = gpu.buffers.storage("rounded", 4 * tokens * total);
  await runKernel(
    gpu,
    quantizeRowsKernel(columns),
    { x: upload(gpu, padRows(x, columns)), x_rounded: rounded },
    Math.ceil(values / 8 / QUANTIZE_GROUPS),
    tokens,
  );
  const bytes = await download(gpu, rounded);
  const meaning = Float32Array.from(x, (_, i) => {
    const [t, c] = [Math.floor(i / columns), i % columns];
    const scale = new Float32Array(bytes)[t * total + values + Math.floor(c / 32)];
    return new Int8Array(bytes)[4 * t * total + c] * scale;
  });
  return { rounded, meaning };
}

Deno.test({
  name: "quantizeRowsKernel() rounds every number within half a step of its group",
  ignore,
  async fn() {
    using gpu = await openFull();
    for (const columns of [1, 32, 33, 70, 2100]) {
      const x = noise(columns, 3 * columns).map((v, i) => v * 10 ** (Math.floor(i / 32) % 5 - 2));
      x.fill(0, 0, 32); // a group of zeros
      const { meaning } = await roundRows(gpu, x, columns);
      for (let t = 0; t < 3; t++) {
        for (let c = 0; c < columns; c += 32) {
          const group = x.subarray(t * columns + c, t * columns + Math.min(c + 32, columns));
          const most = group.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          group.forEach((v, i) => {
            const error = Math.abs(v - meaning[t * columns + c + i]);
            assert.ok(error <= most / 127 * 0.501, `${v} in a group up to ${most}`);
          });
        }
      }
    }
    gpu.gpu.check();
  },
});

Deno.test({
  name: "quantizeRowsKernel() leaves no number that is not finite unnoticed",
  ignore,
  async fn() {
    using gpu = await openFull();
    for (const bad of [NaN, Infinity, -Infinity]) {
      const x = noise(1, 2 * 40);
      x[40 + 5] = bad;
      const { meaning } = await roundRows(gpu, x, 40);
      assert.ok(meaning.subarray(0, 40).every(Number.isFinite));
      assert.ok(!meaning.subarray(40, 72).some(Number.isFinite), `${bad}`);
    }
  },
});

Deno.test({
  name: "matmulInt8Kernel() multiplies rounded vectors at awkward shapes",
  ignore: ignore || !hasPackedDots(),
  async fn() {
    using gpu = await openFull();
    let most = 0;
    for (const [i, { tokens, rows, columns }] of SHAPES.entries()) {
      for (const bits of [8, 4] satisfies Bits[]) {
        const matrix = randomPacked(rows + i, rows, columns, bits);
        const x = noise(7, tokens * columns);
        const { rounded, meaning } = await roundRows(gpu, x, columns);
        const options = { label: "test", bits, columns, epilogue: storePlain(rows) };
        const kernel = matmulInt8Kernel(options);
        const bound = { x_rounded: rounded };
        const whole = await product(gpu, kernel, matrix, tokens, bound);
        const error = relativeError(whole, expectedProduct(matrix, meaning));
        assert.ok(error < TOLERANCE, `${tokens}×${rows}×${columns}, ${bits} bits: ${error}`);
        const limit = 64 * paddedColumns(columns) * bits / 8;
        assert.deepEqual(await product(gpu, kernel, matrix, tokens, bound, limit), whole);
        most = Math.max(most, relativeError(whole, expectedProduct(matrix, x)));
      }
    }
    assert.ok(most < 5e-3, `${most} from the exact product`); // what the kernel's docs say
    gpu.gpu.check();
  },
});

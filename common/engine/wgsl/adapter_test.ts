import assert from "node:assert/strict";
import { createGpuMatrix, writeRows } from "../gpu_matrix.ts";
import { paddedColumns } from "../packed_rows.ts";
import { referenceMatvec, referenceRmsNorm, relativeError } from "../reference.ts";
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
import {
  ADAPTER_TOKENS,
  adapterFragment,
  adapterLowKernel,
  adapterLowPrefixKernel,
  adapterParts,
  type AdapterSize,
} from "./adapter.ts";
import { storeGated, storeResidual } from "./epilogues.ts";
import { MATMUL_TILE, matmulKernel } from "./matmul.ts";
import { DEFAULT_MATVEC, matvecKernel } from "./matvec.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 2e-3;

/** One part and several, ranks that do and do not divide 256 threads, columns with a tail. */
const SIZES: readonly AdapterSize[] = [
  { columns: 32, segments: 1, rank: 4, width: 5, scale: 2 },
  { columns: 1100, segments: 3, rank: 16, width: 7, scale: 0.5 },
  { columns: 520, segments: 2, rank: 12, width: 33, scale: 1 },
  { columns: 5000, segments: 1, rank: 32, width: 1, scale: 1 },
  { columns: 40, segments: 2, rank: 256, width: 3, scale: 1 },
];

function factors({ columns, segments, rank, width }: AdapterSize) {
  const a = noise(1, segments * columns * rank);
  return { a, b: noise(2, segments * rank * width) };
}

/** x·A, `[G, R]`. */
function referenceLow(
  { columns, segments, rank }: AdapterSize,
  a: Float32Array,
  x: ArrayLike<number>,
): Float64Array {
  const low = new Float64Array(segments * rank);
  for (let g = 0; g < segments; g++) {
    for (let c = 0; c < columns; c++) {
      for (let r = 0; r < rank; r++) low[g * rank + r] += x[c] * a[(g * columns + c) * rank + r];
    }
  }
  return low;
}

/** What the adapter adds, `[G, W]`. */
function referenceAdded(size: AdapterSize, x: ArrayLike<number>): Float64Array {
  const { segments, rank, width, scale } = size;
  const { a, b } = factors(size);
  const low = referenceLow(size, a, x);
  const out = new Float64Array(segments * width);
  for (let i = 0; i < out.length; i++) {
    const [g, w] = [Math.floor(i / width), i % width];
    for (let r = 0; r < rank; r++) {
      out[i] += scale * low[g * rank + r] * b[(g * rank + r) * width + w];
    }
  }
  return out;
}

/** Run the first half for one vector. */
async function lowOf(gpu: TestGpu, size: AdapterSize, x: GPUBuffer, norm?: GPUBuffer, isDone = 0) {
  const parts = adapterParts(size);
  const lora_low = gpu.buffers.storage("low", 4 * parts * size.segments * size.rank);
  const bound = {
    state: gpu.buffers.uniform("state", stateWords(0, isDone)),
    x,
    lora_a: upload(gpu, factors(size).a),
    lora_low,
    ...(norm && { norm }),
  };
  const kernel = adapterLowKernel(size, norm !== undefined);
  await runKernel(gpu, kernel, bound, parts, size.segments);
  return lora_low;
}

Deno.test({
  name: "adapterLowKernel() multiplies in parts, with and without RMSNorm",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    assert.deepEqual(SIZES.map(adapterParts), [1, 3, 2, 8, 1]);
    for (const size of SIZES) {
      const { columns, segments, rank } = size;
      const parts = adapterParts(size);
      const [x, norm] = [noise(3, columns), noise(4, columns)];
      const { a } = factors(size);
      for (const isNormed of [false, true]) {
        const [onGpu, scales] = [x, norm].map((row) => upload(gpu, padRows(row, columns)));
        const low = await lowOf(gpu, size, onGpu, isNormed ? scales : undefined);
        const out = new Float32Array(await download(gpu, low));
        const sums = Float64Array.from({ length: segments * rank }, (_, i) => {
          const at = Math.floor(i / rank) * parts * rank + i % rank;
          return Array.from({ length: parts }, (_, p) => out[at + p * rank])
            .reduce((sum, part) => sum + part, 0);
        });
        const expected = referenceLow(size, a, isNormed ? referenceRmsNorm(x, norm) : x);
        assert.ok(relativeError(sums, expected) < TOLERANCE, JSON.stringify({ size, isNormed }));
      }
    }
    const [size] = SIZES;
    const x = upload(gpu, padRows(noise(3, size.columns), size.columns));
    const untouched = new Float32Array(
      await download(gpu, await lowOf(gpu, size, x, undefined, 1)),
    );
    assert.ok(untouched.every((v) => v === 0), "a chunk that is done");
  },
});

Deno.test({
  name: "adapterFragment() adds x·A·B to a product with a vector",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    for (const size of SIZES.filter(({ segments }) => segments === 1)) {
      const { columns, width } = size;
      const packed = randomPacked(5, width, columns);
      const x = noise(3, columns);
      const onGpu = upload(gpu, padRows(x, columns));
      const matrix = createGpuMatrix(gpu.buffers, "test", packed);
      writeRows(gpu.device, matrix, 0, packed);
      const { values, scales, place: shard } = matrix.shards[0];
      const residual = gpu.buffers.storage("residual", 4 * paddedColumns(width));
      const epilogue = storeResidual(width, adapterFragment(size, adapterParts(size)));
      const options = { label: "test", bits: 8 as const, columns, isNormed: false, epilogue };
      const bound = {
        state: gpu.buffers.uniform("state", stateWords(0)),
        values,
        scales,
        shard,
        x: onGpu,
        residual,
        lora_low: await lowOf(gpu, size, onGpu),
        lora_b: upload(gpu, factors(size).b),
      };
      const groups = Math.ceil(width / DEFAULT_MATVEC.rows);
      await runKernel(gpu, matvecKernel(options, DEFAULT_MATVEC), bound, groups);
      const added = referenceAdded(size, x);
      const expected = referenceMatvec(packed, x).map((y, i) => y + added[i]);
      const out = new Float32Array(await download(gpu, residual)).slice(0, width);
      assert.ok(relativeError(out, expected) < TOLERANCE, JSON.stringify(size));
    }
  },
});

Deno.test({
  name: "adapterLowPrefixKernel() serves tokens by eights, and gate and up have an adapter each",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    for (const [i, size] of SIZES.filter(({ segments }) => segments === 2).entries()) {
      const { columns, width, rank } = size;
      const tokens = [3, 17][i];
      const packed = randomPacked(5, 2 * width, columns);
      const x = noise(3, tokens * columns);
      const matrix = createGpuMatrix(gpu.buffers, "test", packed);
      writeRows(gpu.device, matrix, 0, packed);
      const { values, scales, place: shard } = matrix.shards[0];
      const gated = gpu.buffers.storage("gated", 4 * tokens * paddedColumns(width));
      const lora_low = gpu.buffers.storage("low", 4 * tokens * 2 * rank);
      const { a, b } = factors(size);
      const bound = {
        places: upload(gpu, Uint32Array.of(tokens, tokens, 0, 0, 0, 1)),
        values,
        scales,
        shard,
        x: upload(gpu, padRows(x, columns)),
        gated,
        lora_low,
        lora_a: upload(gpu, a),
        lora_b: upload(gpu, b),
      };
      const blocks = Math.ceil(tokens / ADAPTER_TOKENS);
      await runKernel(gpu, adapterLowPrefixKernel(size), bound, blocks, 2);
      const epilogue = storeGated(width, adapterFragment(size, 1));
      const kernel = matmulKernel({ label: "test", bits: 8, columns, epilogue });
      await runKernel(gpu, kernel, bound, Math.ceil(2 * width / MATMUL_TILE));
      const out = new Float32Array(await download(gpu, gated));
      for (let t = 0; t < tokens; t++) {
        const row = x.subarray(t * columns, (t + 1) * columns);
        const y = referenceMatvec(packed, row);
        const added = referenceAdded(size, row);
        const expected = Array.from({ length: width }, (_, f) => {
          const gate = y[2 * f] + added[f];
          const slope = Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3);
          return 0.5 * gate * (1 + Math.tanh(slope)) * (y[2 * f + 1] + added[width + f]);
        });
        const at = t * paddedColumns(width);
        const error = relativeError(out.subarray(at, at + width), expected);
        assert.ok(error < TOLERANCE, `${JSON.stringify(size)}, token ${t}: ${error}`);
      }
    }
  },
});

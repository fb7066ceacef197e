import assert from "node:assert/strict";
import { createGpuMatrix, writeRows } from "../gpu_matrix.ts";
import { floatRows, paddedColumns, toFloats } from "../packed_rows.ts";
import { referenceMatvec, referenceRmsNorm, referenceRope, relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  padRows,
  randomPacked,
  runKernel,
  stateWords,
  upload,
} from "../testing.ts";
import { embedKernel } from "./embed.ts";
import { storeQkv } from "./epilogues.ts";
import { DEFAULT_MATVEC, matvecKernel } from "./matvec.ts";
import { rmsNormKernel } from "./rms_norm.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 2e-3;

Deno.test({
  name: "rmsNormKernel() normalises rows of any width",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    for (const width of [1, 33, 64, 300, 2048]) {
      const tokens = 3;
      const x = noise(1, tokens * width);
      const norm = noise(2, width);
      const normed = gpu.buffers.storage("normed", 4 * tokens * paddedColumns(width));
      const bound = {
        x: upload(gpu, padRows(x, width)),
        norm: upload(gpu, padRows(norm, width)),
        normed,
      };
      await runKernel(gpu, rmsNormKernel(width), bound, tokens);
      const out = new Float32Array(await download(gpu, normed));
      for (let t = 0; t < tokens; t++) {
        const row = out.subarray(t * paddedColumns(width)).subarray(0, width);
        const expected = referenceRmsNorm(x.subarray(t * width, (t + 1) * width), norm);
        assert.ok(relativeError(row, expected) < TOLERANCE, `width ${width}, row ${t}`);
      }
    }
  },
});

Deno.test({
  name: "embedKernel() gathers rows from every shard and leaves other places alone",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const [vocab, width, first] = [150, 40, 2];
    const stride = paddedColumns(width);
    for (const bits of [8, 4, 32] as const) {
      const layout = {
        outer: vocab,
        contraction: width,
        inner: 1,
        outerAxes: 1,
        contractionAxes: 1,
      };
      const packed = bits === 32
        ? floatRows(noise(3, vocab * width), layout, 0, vocab)
        : randomPacked(3, vocab, width, bits);
      const limit = 64 * 8 * bits + 1; // 64 rows of two groups
      const matrix = createGpuMatrix(gpu.buffers, "embedding", packed, limit);
      writeRows(gpu.device, matrix, 0, packed);
      assert.equal(matrix.shards.length, 3);
      const ids = [149, 0, 63, 64, 127, 128];
      const before = noise(4, (first + ids.length + 1) * stride);
      const x = upload(gpu, before);
      for (const { values, scales, place: shard } of matrix.shards) {
        const bound = {
          values,
          scales,
          shard,
          ids: upload(gpu, Uint32Array.of(6, first, ...ids)),
          x,
        };
        await runKernel(gpu, embedKernel(bits, width), bound, ids.length + 1);
      }
      const out = new Float32Array(await download(gpu, x));
      const rows = toFloats(packed);
      ids.forEach((id, i) => {
        const row = rows.subarray(id * width, (id + 1) * width);
        const at = (first + i) * stride;
        const expected = row.map((w) => w * Math.sqrt(width));
        assert.ok(relativeError(out.subarray(at, at + width), expected) < TOLERANCE, `id ${id}`);
      });
      const end = (first + ids.length) * stride;
      assert.deepEqual(out.subarray(0, first * stride), before.subarray(0, first * stride));
      assert.deepEqual(out.subarray(end), before.subarray(end));
    }
  },
});

Deno.test({
  name: "storeQkv() rotates queries and keys, scales queries and fills one place of the cache",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const size = { heads: 3, headDim: 12, capacity: 6 };
    const { heads, headDim: K, capacity } = size;
    const [place, position, columns] = [4, 7, 32];
    const packed = randomPacked(5, (heads + 2) * K, columns);
    const x = noise(6, columns);
    const y = referenceMatvec(packed, x);
    const rope = new Float32Array(8 * K);
    for (let j = 0; j < K / 2; j++) {
      const angle = position / 10_000 ** (2 * j / K);
      rope[position * K + 2 * j] = Math.cos(angle);
      rope[position * K + 2 * j + 1] = Math.sin(angle);
    }
    const at = Array.from({ length: capacity }, (_, p) => [p === place ? position : 0, 1]).flat();
    const matrix = createGpuMatrix(gpu.buffers, "qkv", packed);
    writeRows(gpu.device, matrix, 0, packed);
    const { values, scales, place: shard } = matrix.shards[0];
    const q = gpu.buffers.storage("q", 4 * heads * K);
    const cache = gpu.buffers.storage("cache", 8 * capacity * K);
    const kernel = matvecKernel(
      { label: "qkv", bits: 8, columns, isNormed: false, epilogue: storeQkv(size) },
      DEFAULT_MATVEC,
    );
    const state = gpu.buffers.uniform("state", stateWords(place));
    const places = upload(gpu, Uint32Array.of(0, 0, 0, 0, ...at));
    const bound = {
      values,
      scales,
      shard,
      state,
      x: upload(gpu, x),
      places,
      rope: upload(gpu, rope),
      q,
      cache,
    };
    await runKernel(gpu, kernel, bound, Math.ceil(packed.rows / DEFAULT_MATVEC.rows));

    // Rows 2j and 2j + 1 are elements j and j + K/2.
    const head = (h: number) =>
      Array.from({ length: K }, (_, k) => y[h * K + (k < K / 2 ? 2 * k : 2 * (k - K / 2) + 1)]);
    const queries = Array.from(
      { length: heads },
      (_, h) => [...referenceRope(head(h), position)].map((v) => v / Math.sqrt(K)),
    ).flat();
    const out = new Float32Array(await download(gpu, q)).slice(0, heads * K);
    assert.ok(relativeError(out, queries) < TOLERANCE, "queries");
    const expected = new Float64Array(2 * capacity * K);
    expected.set(referenceRope(head(heads), position), place * K);
    expected.set(y.subarray((heads + 1) * K), (capacity + place) * K);
    const kept = new Float32Array(await download(gpu, cache)).slice(0, expected.length);
    assert.ok(relativeError(kept, expected) < TOLERANCE, "cache");
  },
});

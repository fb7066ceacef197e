import assert from "node:assert/strict";
import { useDevice } from "../../policy/backend.ts";
import { imageTensor } from "../../policy/network.ts";
import { makeImage } from "../../policy/testing.ts";
import { tokensPerImage } from "../../policy/variants.ts";
import { seededRandom } from "../../random.ts";
import { createGpuMatrix, writeRows } from "../gpu_matrix.ts";
import { defineKernel, type Fragment } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import {
  referenceAttention,
  referenceGelu,
  referenceLayerNorm,
  referenceMatvec,
  relativeError,
} from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  padRows,
  randomPacked,
  runKernel,
  type TestGpu,
  upload,
} from "../testing.ts";
import { attendImagesKernel, attentionTile } from "./attend_images.ts";
import { layerNormKernel } from "./layer_norm.ts";
import { MATMUL_TILE, matmulKernel } from "./matmul.ts";
import { PATCH_THREADS, patchColumns, patchesKernel, pictureWords } from "./patches.ts";
import {
  storeBiased,
  storeBiasedResidual,
  storeGelu,
  storeImageTokens,
  storeStem,
} from "./vision_epilogues.ts";

const ignore = !await hasAdapter();
const TOLERANCE = 1e-4;

/** Words of `places` for tokens that stand at the given image tokens. */
function placesOf(positions: readonly number[]): Uint32Array {
  return Uint32Array.of(positions.length, 0, 0, 0, ...positions.flatMap((p) => [p, 1]));
}

async function floats(gpu: TestGpu, buffer: GPUBuffer): Promise<Float32Array> {
  return new Float32Array(await download(gpu, buffer));
}

Deno.test({
  name: "layerNormKernel() normalises rows of any width, also far from zero",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    for (const width of [4, 24, 40, 64, 1152]) {
      const tokens = 3;
      // The mean is a thousand times the spread: sums of squares would lose it.
      const x = noise(1, tokens * width).map((v, i) => i < width ? v + 1000 : v);
      const [scale, bias] = [noise(2, width), noise(3, width)];
      const stride = paddedColumns(width);
      const normed = upload(gpu, new Float32Array(tokens * stride).fill(7));
      const bound = {
        x: upload(gpu, padRows(x, width)),
        norm_scale: upload(gpu, scale),
        norm_bias: upload(gpu, bias),
        normed,
      };
      await runKernel(gpu, layerNormKernel(width), bound, tokens);
      const out = await floats(gpu, normed);
      for (let t = 0; t < tokens; t++) {
        const row = out.subarray(t * stride, (t + 1) * stride);
        const expected = referenceLayerNorm(x.subarray(t * width, (t + 1) * width), scale, bias);
        const tolerance = t === 0 ? 1e-3 : TOLERANCE; // 1000 leaves 2⁻¹⁴ of a spread of 1
        assert.ok(relativeError(row.subarray(0, width), expected) < tolerance, `${width}, ${t}`);
        assert.ok(row.subarray(width).every((v) => v === 7), "the padding is left alone");
      }
    }
  },
});

Deno.test({
  name: "patchesKernel() cuts the pictures that are asked for as the policy sees them",
  ignore,
  async fn() {
    await useDevice("cpu");
    using gpu = await openTestGpu();
    // 15 · 15 · 3 bytes fill no word, a row of 5 · 5 · 3 numbers fills no group.
    for (const size of [{ imageSize: 15, patch: 5 }, { imageSize: 56, patch: 14 }]) {
      const { imageSize, patch } = size;
      const random = seededRandom(4);
      const cameras = [0, 1, 2].map(() => makeImage(random, imageSize));
      const bytes = new Uint8Array(3 * 4 * pictureWords(size));
      cameras.forEach(({ data }, c) => bytes.set(data, c * 4 * pictureWords(size)));
      const perImage = tokensPerImage(size);
      const seen = [2, 0];
      const positions = seen.flatMap((c) =>
        Array.from({ length: perImage }, (_, i) => c * perImage + i)
      );
      const columns = patchColumns(size);
      const stride = paddedColumns(columns);
      const patches = upload(gpu, new Float32Array(positions.length * stride).fill(7));
      const bound = {
        places: upload(gpu, placesOf(positions)),
        pixels: upload(gpu, new Uint32Array(bytes.buffer)),
        patches,
      };
      const groups = Math.ceil(positions.length * stride / 4 / PATCH_THREADS);
      await runKernel(gpu, patchesKernel(size), bound, groups);
      const out = await floats(gpu, patches);

      const side = imageSize / patch;
      const expected = new Float32Array(out.length);
      for (const [slot, camera] of seen.entries()) {
        using tensor = disposable(imageTensor([cameras[camera]], imageSize));
        const pixels = tensor.value.dataSync();
        for (let at = 0; at < perImage * columns; at++) {
          const [p, i] = [Math.floor(at / columns), at % columns];
          const [line, rest] = [Math.floor(i / (3 * patch)), i % (3 * patch)];
          const y = Math.floor(p / side) * patch + line;
          const x = p % side * patch;
          expected[(slot * perImage + p) * stride + i] = pixels[(y * imageSize + x) * 3 + rest];
        }
      }
      assert.ok(relativeError(out, expected) < 1e-6, `${imageSize}`);
    }
  },
});

function disposable<T extends { dispose(): void }>(value: T): Disposable & { value: T } {
  return { value, [Symbol.dispose]: () => value.dispose() };
}

Deno.test({
  name: "attendImagesKernel() attends within each picture, at awkward sizes",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const sizes = [
      { heads: 16, headDim: 72, tokens: 33 }, // the real heads; a block and one more
      { heads: 5, headDim: 8, tokens: 16 },
      { heads: 1, headDim: 4, tokens: 1 },
      { heads: 2, headDim: 12, tokens: 31 },
      { heads: 3, headDim: 132, tokens: 9 }, // a smaller tile
    ];
    for (const size of sizes) {
      const { heads, headDim: K, tokens } = size;
      const pictures = 2;
      const width = heads * K;
      // Some scores are large: the running softmax must fade what it has.
      const qkv = noise(5, pictures * tokens * 3 * width).map((v) => 3 * v);
      const stride = paddedColumns(width);
      const attended = upload(gpu, new Float32Array(pictures * tokens * stride));
      const bound = { qkv: upload(gpu, padRows(qkv, 3 * width)), attended };
      const blocks = Math.ceil(tokens / attentionTile(K).queries);
      await runKernel(gpu, attendImagesKernel(size), bound, heads * blocks, pictures);
      const out = await floats(gpu, attended);

      const expected = new Float32Array(out.length);
      for (let at = 0; at < pictures * heads; at++) {
        const [picture, head] = [Math.floor(at / heads), at % heads];
        const part = (token: number, kind: number) => {
          const from = ((picture * tokens + token) * 3 + kind) * width + head * K;
          return qkv.subarray(from, from + K);
        };
        const all = (kind: number) =>
          Array.from({ length: tokens }, (_, t) => [...part(t, kind)]).flat();
        const [keys, values] = [all(1), all(2)];
        for (let t = 0; t < tokens; t++) {
          const q = part(t, 0).map((v) => v / Math.sqrt(K));
          const row = referenceAttention(q, keys, values, () => true);
          expected.set(row, (picture * tokens + t) * stride + head * K);
        }
      }
      assert.ok(relativeError(out, expected) < TOLERANCE, JSON.stringify(size));
    }
  },
});

Deno.test("attentionTile() fits a workgroup's memory or refuses", () => {
  assert.deepEqual(attentionTile(16), { queries: 32, keys: 16 });
  assert.deepEqual(attentionTile(72), { queries: 32, keys: 16 });
  assert.deepEqual(attentionTile(256), { queries: 4, keys: 4 });
  assert.throws(() => attentionTile(1024), /heads of 1024 numbers do not fit/);
});

Deno.test({
  name: "the image encoder's epilogues finish odd rows and leave the padding alone",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const [rows, columns, tokens, perImage] = [37, 40, 3, 2];
    const stride = paddedColumns(rows);
    const packed = randomPacked(6, rows, columns);
    const matrix = createGpuMatrix(gpu.buffers, "test", packed);
    writeRows(gpu.device, matrix, 0, packed);
    const { values, scales, place: shard } = matrix.shards[0];
    const x = noise(7, tokens * columns);
    const bias = noise(8, rows);
    const positions = noise(9, perImage * rows);
    const before = noise(10, 6 * stride);
    const at = [5, 2, 3]; // odd, even, odd patches
    const sums = Array.from({ length: tokens }, (_, t) => {
      const row = referenceMatvec(packed, x.subarray(t * columns, (t + 1) * columns));
      return row.map((v, r) => v + bias[r]);
    });

    const run = async (epilogue: readonly Fragment[], target: string) => {
      const kernel = matmulKernel({ label: "test", bits: 8, columns, epilogue });
      assert.equal(defineKernel("test", epilogue).bindings.includes("bias"), true);
      const written = upload(gpu, before);
      const bound = {
        places: upload(gpu, placesOf(at)),
        x: upload(gpu, padRows(x, columns)),
        values,
        scales,
        shard,
        bias: upload(gpu, bias),
        positions: upload(gpu, positions),
        [target]: written,
      };
      const groups = Math.ceil(rows / MATMUL_TILE);
      await runKernel(gpu, kernel, bound, groups);
      return await floats(gpu, written);
    };
    const expect = (rowStride: number, finish: (t: number, row: number) => [number, number]) => {
      const expected = Float32Array.from(before);
      for (let t = 0; t < tokens; t++) {
        for (let row = 0; row < rows; row++) {
          const [line, value] = finish(t, row);
          expected[line * rowStride + row] = value;
        }
      }
      return expected;
    };
    const cases: [string, Float32Array, Float32Array][] = [
      ["out", await run(storeBiased(rows), "out"), expect(stride, (t, r) => [t, sums[t][r]])],
      [
        "residual",
        await run(storeBiasedResidual(rows), "residual"),
        expect(stride, (t, r) => [t, before[t * stride + r] + sums[t][r]]),
      ],
      [
        "hidden",
        await run(storeGelu(rows), "hidden"),
        expect(stride, (t, r) => [t, referenceGelu(sums[t][r])]),
      ],
      [
        "stem",
        await run(storeStem(rows, perImage), "stem"),
        expect(stride, (t, r) => [t, sums[t][r] + positions[at[t] % perImage * rows + r]]),
      ],
      [
        "tokens",
        await run(storeImageTokens(rows), "tokens"),
        expect(rows, (t, r) => [at[t], sums[t][r]]),
      ],
    ];
    for (const [name, actual, expected] of cases) {
      assert.ok(relativeError(actual, expected) < TOLERANCE, name);
    }
  },
});

Deno.test({
  name: "storeGelu() stays finite where exp overflows",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const packed = randomPacked(6, 2, 32);
    const matrix = createGpuMatrix(gpu.buffers, "test", packed);
    writeRows(gpu.device, matrix, 0, packed);
    const { values, scales, place: shard } = matrix.shards[0];
    const hidden = gpu.buffers.storage("hidden", 4 * 32);
    const bound = {
      places: upload(gpu, placesOf([0])),
      x: upload(gpu, new Float32Array(32)),
      values,
      scales,
      shard,
      bias: upload(gpu, Float32Array.of(1e6, -1e6)),
      hidden,
    };
    const kernel = matmulKernel({ label: "test", bits: 8, columns: 32, epilogue: storeGelu(2) });
    await runKernel(gpu, kernel, bound, 1);
    const [high, low] = await floats(gpu, hidden);
    assert.equal(high, 1e6);
    assert.ok(Math.abs(low) < 1e-20, `${low}`);
  },
});

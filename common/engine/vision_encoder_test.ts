import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type GpuDevice, openGpuDevice } from "../device/gpu_device.ts";
import { FakeGpu, openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import type { ParameterStore } from "../policy/parameters.ts";
import { normalSource } from "../policy/testing.ts";
import { dequantizeTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import type { RgbImage } from "../types.ts";
import { matmulFormats } from "./bind_matmul.ts";
import { relativeError } from "./reference.ts";
import { hasAdapter } from "./testing.ts";
import { VisionEncoder, type VisionOptions } from "./vision_encoder.ts";
import { type VisionModel, visionModelOf } from "./vision_model.ts";
import {
  encodeWithTfjs,
  makeParameters,
  makePictures,
  ODD,
  readTokens,
  type Rounding,
  visionWeights,
  withByte,
} from "./vision_testing.ts";

const ignore = !await hasAdapter();
const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));
const TOLERANCE = 1e-4;

/** Everything that a test of an encoder needs. Owner of all of it. */
interface Bench extends Disposable {
  readonly gpu: GpuDevice;
  readonly params: ParameterStore;
  readonly encoder: VisionEncoder;
  /** What it says of pictures. */
  encode(images: readonly RgbImage[]): Promise<Float32Array>;
  /** What tfjs says of them. */
  expect(images: readonly RgbImage[]): Promise<Float32Array>;
}

async function open(
  model: VisionModel,
  { rounding, ...options }: VisionOptions & { rounding?: Rounding } = {},
): Promise<Bench> {
  await useDevice("cpu");
  using stack = new DisposableStack();
  const params = stack.adopt(makeParameters(model), (p) => p.dispose());
  const weights = await visionWeights(params, rounding);
  const gpu = stack.use(await openAny());
  const encoder = stack.use(await VisionEncoder.create(gpu, model, weights, options));
  const owned = stack.move();
  return {
    gpu,
    params,
    encoder,
    encode: async (images) => await readTokens(gpu.device, encoder, encoder.encode(images).tokens),
    expect: (images) => encodeWithTfjs(params, model.siglip, images),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

Deno.test({
  name: "VisionEncoder encodes as tfjs does with the shipped policy's weights",
  ignore,
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadPolicy(REACH, {
      valueHeadHiddenDim: 16,
      valueInput: "observation",
      maxValueSteps: 8,
      isCriticDetached: true,
      normal: normalSource(1),
    });
    using _policy = policy;
    const model = visionModelOf(policy);
    const { siglip, quantized: kinds } = policy.shape.variant;
    const { backbone } = policy.network;
    using gpu = await openAny();
    const roundings: (Rounding | undefined)[] = [undefined, { bits: 8, kinds }, { bits: 8 }, {
      bits: 4,
    }];
    const sizes: number[] = [];
    for (const rounding of roundings) {
      const weights = await visionWeights(backbone, rounding);
      using encoder = await VisionEncoder.create(gpu, model, weights);
      sizes.push(encoder.weightBytes);
      for (const seed of [1, 2]) {
        const images = makePictures(seed, model);
        const actual = await readTokens(gpu.device, encoder, encoder.encode(images).tokens);
        const expected = await encodeWithTfjs(backbone, siglip, images);
        const error = relativeError(actual, expected);
        assert.ok(error < TOLERANCE, `${JSON.stringify(rounding)}: ${error}`);
      }
    }
    assert.deepEqual(sizes, sizes.toSorted((a, b) => b - a), "fewer bits take fewer bytes");
    assert.equal(new Set(sizes).size, 4);
  },
});

Deno.test({
  name: "VisionEncoder encodes at sizes that fill nothing, in any number of bits and parts",
  ignore,
  async fn() {
    // The stem's rows take 640 bytes: 5 parts. In 8 bits, up and down take 64 bytes a row: one part.
    const cases = [
      {},
      { maxBindingBytes: 640 * 8 },
      { rounding: { bits: 8 } as const, maxBindingBytes: 640 * 8 },
      { rounding: { bits: 4, kinds: ["visionMlp"] } as const },
    ];
    for (const options of cases) {
      using bench = await open(ODD, options);
      const images = makePictures(3, ODD);
      const error = relativeError(await bench.encode(images), await bench.expect(images));
      assert.ok(error < TOLERANCE, `${JSON.stringify(options)}: ${error}`);
      const split = options.maxBindingBytes !== undefined;
      assert.equal(bench.encoder.dispatches > 4 + 7 * ODD.siglip.depth, split);
    }
    using one = await open({ ...ODD, cameras: 1 });
    const images = makePictures(4, one.encoder.model);
    assert.ok(relativeError(await one.encode(images), await one.expect(images)) < TOLERANCE);
  },
});

Deno.test({
  name: "VisionEncoder quantises what it is given in float32 if it is told to",
  ignore,
  async fn() {
    const storage = { precision: "int8", quantized: ["visionMlp"] } as const;
    using told = await open(ODD, { storage });
    using given = await open(ODD, { rounding: { bits: 8, kinds: storage.quantized } });
    const images = makePictures(5, ODD);
    assert.equal(told.encoder.weightBytes, given.encoder.weightBytes);
    assert.deepEqual(await told.encode(images), await given.encode(images));
  },
});

Deno.test({
  name: "VisionEncoder rounds vectors only where it is told to, and stays near the exact tokens",
  ignore,
  async fn() {
    // Of the largest number of a token; bind_matmul_test.ts has each product's own error.
    const most = { float32: TOLERANCE, float16: 5e-3, int8: 5e-2 };
    using exact = await open(ODD, { rounding: { bits: 8 } });
    const images = makePictures(13, ODD);
    const expected = await exact.expect(images);
    for (const matmul of matmulFormats(exact.gpu)) {
      // Said outright, or by a tuning.
      const told = matmul === "int8" ? { tuning: { matmul } } : { matmul };
      using bench = await open(ODD, { rounding: { bits: 8 }, ...told });
      const { encoder } = bench;
      const error = relativeError(await bench.encode(images), expected);
      assert.ok(error < most[matmul], `${matmul}: ${error}`);
      assert.equal(error > TOLERANCE, matmul !== "float32", `${matmul}: ${error}`);
      // A pass that rounds in front of each product but the patches', which stay exact.
      const passes = matmul === "int8" ? 4 * ODD.siglip.depth + 1 : 0;
      assert.equal(encoder.dispatches, exact.encoder.dispatches + passes);
    }
  },
});

Deno.test({
  name: "VisionEncoder encodes only pictures that changed, and counts versions only then",
  ignore,
  async fn() {
    using bench = await open(ODD);
    const { encoder, gpu: { device } } = bench;
    const [a, b, c] = makePictures(6, ODD);
    const last = a.data.length - 1;
    assert.equal(encoder.version, 0);
    const { tokens, version } = encoder.encode([a, b, c]);
    assert.equal(version, 1);
    // The same bytes in other arrays are the same pictures.
    const copies = [a, b, c].map((image) => ({ ...image, data: image.data.slice() }));
    assert.deepEqual(encoder.encode(copies), { tokens, version: 1 });

    // A mark in every row tells which rows are written.
    const before = await bench.expect([a, b, c]);
    const mark = new Float32Array(before.length).fill(7);
    const perCamera = before.length / 3;
    const steps: [RgbImage[], number[]][] = [
      [[a, withByte(b, 0), c], [1]], // one byte of one camera
      [[a, withByte(b, 0), withByte(c, last)], [2]], // the last byte
      [[withByte(a, 1), b, withByte(c, last)], [0, 1]],
      [[a, a, a], [0, 1, 2]],
      [[a, a, a], []],
    ];
    for (const [i, [images, changed]] of steps.entries()) {
      device.queue.writeBuffer(tokens, 0, mark);
      const known: number = encoder.version;
      const actual = await bench.encode(images);
      assert.equal(encoder.version, changed.length > 0 ? known + 1 : known, `step ${i}`);
      const expected = await bench.expect(images);
      for (const camera of [0, 1, 2]) {
        const part = (all: Float32Array) =>
          all.subarray(camera * perCamera, (camera + 1) * perCamera);
        if (changed.includes(camera)) {
          assert.ok(relativeError(part(actual), part(expected)) < TOLERANCE, `step ${i}`);
        } else assert.deepEqual(part(actual), part(mark), `step ${i}, camera ${camera}`);
      }
    }
    encoder.invalidate();
    const anew = await bench.encode([a, a, a]);
    assert.ok(relativeError(anew, await bench.expect([a, a, a])) < TOLERANCE, "all anew");
  },
});

Deno.test({
  name: "VisionEncoder makes no buffer in 200 calls and frees all",
  ignore,
  async fn() {
    using bench = await open(ODD);
    const { encoder, gpu } = bench;
    const images = makePictures(7, ODD);
    const [created, bytes] = [encoder.buffersCreated, encoder.gpuBytes];
    for (let call = 0; call < 200; call++) {
      images[call % 3] = withByte(images[call % 3], call);
      assert.equal(encoder.encode(images).version, call + 1);
      if (call % 20 === 0) await gpu.device.queue.onSubmittedWorkDone();
    }
    assert.ok(relativeError(await bench.encode(images), await bench.expect(images)) < TOLERANCE);
    assert.deepEqual([encoder.buffersCreated, encoder.gpuBytes], [created, bytes]);
    encoder[Symbol.dispose]();
    assert.equal(encoder.gpuBytes, 0);
    gpu.check();
  },
});

Deno.test({
  name: "VisionEncoder.updateWeights() writes any weights without making anything",
  ignore,
  async fn() {
    using bench = await open(ODD, { rounding: { bits: 8, kinds: ["visionAttention"] } });
    const { encoder } = bench;
    const images = makePictures(8, ODD);
    const before = await bench.encode(images);
    const [created, version] = [encoder.buffersCreated, encoder.version];
    const other = makeParameters(ODD, 7);
    const float32 = await other.toHost();
    // Float32 weights are quantised on the way, to the integers that are written besides.
    const { matrices, floats } = await visionWeights(other, {
      bits: 8,
      kinds: ["visionAttention"],
    });
    const expected = await encodeWithTfjs(other, ODD.siglip, images);
    other.dispose();
    encoder.updateWeights(float32);
    const after = await bench.encode(images);
    assert.ok(relativeError(after, expected) < TOLERANCE);
    assert.equal(encoder.version, version + 1, "weights change tokens");
    encoder.updateWeights([...matrices.values(), ...floats.values()]);
    assert.deepEqual(await bench.encode(images), after);
    encoder.updateWeights(await bench.params.toHost());
    assert.ok(relativeError(await bench.encode(images), before) < TOLERANCE);
    assert.equal(encoder.buffersCreated, created);
  },
});

Deno.test({
  name: "VisionEncoder refuses what does not fit, in a sentence, and goes on",
  ignore,
  async fn() {
    const kinds = ["visionMlp"] as const;
    using bench = await open(ODD, { rounding: { bits: 8, kinds } });
    const { encoder, gpu, params } = bench;
    const images = makePictures(9, ODD);
    const before = await bench.encode(images);
    const [a, b] = makePictures(10, ODD);
    const wrong: [RgbImage[], RegExp][] = [
      [[a, b], /^Cannot encode 2 pictures: the policy has 3 cameras$/],
      [[a, b, { ...a, width: 34 }], /picture of camera 2: it is 34×35 with 3675 bytes/],
      [[a, { ...a, data: a.data.subarray(1) }, b], /camera 1: it is 35×35 with 3674 bytes/],
    ];
    for (const [pictures, message] of wrong) {
      assert.throws(() => encoder.encode(pictures), { name: "RangeError", message });
    }
    assert.deepEqual(encoder.encode(images).version, 1, "a refused call changes nothing");

    const host = await params.toHost();
    const named = (ending: string) => host.find(({ name }) => name.endsWith(ending))!;
    const up = named("Dense_0/kernel");
    const layout = { outer: 2, contraction: 40, inner: 37, outerAxes: 1, contractionAxes: 1 };
    const query = named("query/kernel");
    const stray = { ...up, name: "PaliGemma/llm/final_norm/scale" };
    const updates: [Parameters<VisionEncoder["updateWeights"]>[0], RegExp][] = [
      [[named("head/bias"), stray], /has no parameter PaliGemma\/llm/],
      [[{ ...up, shape: [1, 40, 37] }], /shape \[1,40,37\] .*it wants \[2,40,37\]$/],
      [[{ ...up, data: up.data.slice(1) }], /with 2959 values/],
      [[quantizeTensor(up, layout, 4)], /in 4 bits .*it wants 8 bits or float32$/],
      [[quantizeTensor(query, { ...layout, inner: 40 }, 8)], /in 8 bits .*it wants float32$/],
    ];
    for (const [tensors, message] of updates) {
      assert.throws(() => encoder.updateWeights(tensors), { name: "RangeError", message });
    }
    encoder.updateWeights([]);
    encoder.checkWeights(host);
    assert.deepEqual(encoder.encode(images).version, 1, "nothing was written");
    assert.deepEqual(await bench.encode(images), before);

    const weights = await visionWeights(params, { bits: 8 });
    const create = (model: VisionModel, given = weights) => VisionEncoder.create(gpu, model, given);
    const siglip = (change: Partial<VisionModel["siglip"]>) => ({
      ...ODD,
      siglip: { ...ODD.siglip, ...change },
    });
    await assert.rejects(create(siglip({ heads: 4 })), /4 heads share 40 numbers/);
    await assert.rejects(create(siglip({ patch: 8 })), /patches of 8 pixels do not fill/);
    await assert.rejects(create(siglip({ mlpDim: 41 })), /Cannot write .*Dense_0\/kernel of shape/);
    await assert.rejects(create({ ...ODD, cameras: 0 }), /cameras is 0/);
    const none = { matrices: new Map(), floats: new Map() };
    await assert.rejects(create(ODD, none), /query\/kernel is missing$/);
    const key = [...weights.matrices.values()].find(({ name }) => name.endsWith("key/kernel"))!;
    const mixed = new Map(weights.matrices);
    mixed.delete(key.name);
    const floats = new Map(weights.floats).set(key.name, dequantizeTensor(key));
    await assert.rejects(create(ODD, { matrices: mixed, floats }), /8, 32 and 8 bits/);
    gpu.check();
  },
});

Deno.test({
  name: "VisionEncoder encodes all anew after a command that the device refused",
  ignore,
  async fn() {
    using bench = await open(ODD);
    const { encoder, gpu } = bench;
    const images = makePictures(14, ODD);
    const before = await bench.encode(images);
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.STORAGE; // which do not go together
    gpu.device.createBuffer({ size: 16, usage }).destroy();
    await gpu.device.queue.onSubmittedWorkDone();
    assert.throws(() => encoder.encode(images), /refused 1 command/);
    assert.deepEqual(await bench.encode(images), before);
    assert.equal(encoder.version, 2);
  },
});

Deno.test({
  name: "VisionEncoder says so when the device is lost",
  ignore,
  async fn() {
    using bench = await open(ODD);
    const { encoder, gpu, params } = bench;
    const images = makePictures(12, ODD);
    encoder.encode(images);
    gpu.device.destroy();
    await gpu.lost;
    assert.throws(() => encoder.encode(images), { name: "GpuLostError" });
    const weights = await visionWeights(params);
    await assert.rejects(VisionEncoder.create(gpu, ODD, weights), { name: "GpuLostError" });
  },
});

Deno.test("VisionEncoder.create() keeps nothing when the device has no room for all", async () => {
  await useDevice("cpu");
  const fake = new FakeGpu({ memoryBytes: 20_000 });
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  Object.assign(gpu.device, { queue: { writeBuffer: () => {} } });
  const params = makeParameters(ODD);
  const weights = await visionWeights(params);
  params.dispose();
  await assert.rejects(VisionEncoder.create(gpu, ODD, weights), {
    name: "GpuMemoryError",
    message: /^Cannot make an image encoder: Some GPU 4000 has no room for \d+ bytes \(not enough/,
  });
  assert.equal(fake.devices[0].bytes, 0);
});

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { openGpuDevice } from "../device/gpu_device.ts";
import { FakeGpu, openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import {
  makeObservations,
  makePolicy,
  MICRO,
  MICRO_LORA,
  normalSource,
} from "../policy/testing.ts";
import { dequantizeTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import { seededRandom } from "../random.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy, type ReferenceChunk } from "./testing.ts";
import { assertSame, GREEDY, openMicro } from "./testing_micro.ts";

const ignore = !await hasAdapter();
const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));

Deno.test({
  name: "DecodeEngine decodes the shipped policy's chunks as tfjs does",
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
    const weights = await quantizePolicy(policy, 8);
    using gpu = await openAny();
    using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights);
    assert.ok(engine.dispatchesPerToken <= 10 * policy.shape.variant.gemma.depth);
    for (const observation of makeObservations(3, 20, policy.shape.variant.siglip.imageSize)) {
      const expected = await decodeWithTfjs(policy, observation, GREEDY);
      engine.prefill(expected.prefix);
      const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
      assertSame(sample, expected);
    }
  },
});

Deno.test({
  name: "DecodeEngine draws the tokens that the host draws with the same uniform numbers",
  ignore,
  async fn() {
    // Steps a submission that divide nothing, and the critic that reads several states.
    using micro = await openMicro({ valueInput: "chunk" }, { stepsPerSubmit: 5 });
    const { policy, engine } = micro;
    for (const [i, observation] of makeObservations(4, 6).entries()) {
      const sampling = (seed: number) => ({ temperature: 0.8, random: seededRandom(seed) });
      const expected = await decodeWithTfjs(policy, observation, sampling(i));
      engine.prefill(expected.prefix);
      const { maxTokens } = expected;
      const sample = await engine.sample({ ...sampling(i), maxTokens });
      assertSame(sample, expected);
    }
  },
});

Deno.test({
  name: "DecodeEngine splits matrices, pads prompts, hides cameras and counts as openpi does",
  ignore,
  async fn() {
    const options = {
      maxBindingBytes: 1024, // 32 rows of 32 numbers, 16 of 48: every matrix but the output head is split
      matvec: { threads: 32, rows: 8, usesSubgroups: false },
    };
    const variant = { ...MICRO, decodePositions: "openpi" as const };
    using micro = await openMicro({ variant }, options, { spareTokens: 6 });
    const { policy, engine } = micro;
    // A layer in 2 (qkv) + 2 + 1 (out) + 3 (gate, up) + 2 (down) parts.
    assert.equal(engine.dispatchesPerToken, 10 * MICRO.gemma.depth + 2);
    const cameraMask = [true, false, true];
    for (const [i, observation] of makeObservations(5, 3).entries()) {
      const expected = await decodeWithTfjs(policy, observation, { ...GREEDY, cameraMask });
      const promptPlaces = expected.prefix.prompt.length + 3 * i;
      engine.prefill({ ...expected.prefix, promptPlaces });
      const maxTokens = expected.maxTokens;
      const sample = await engine.sample({ ...GREEDY, maxTokens });
      assertSame(sample, expected);
    }
  },
});

Deno.test({
  name: "DecodeEngine decodes with weights in 4 bits",
  ignore,
  async fn() {
    using micro = await openMicro({}, {}, { bits: 4 });
    const { policy, engine, weights } = micro;
    for (const observation of makeObservations(12, 3)) {
      const expected = await decodeWithTfjs(policy, observation, GREEDY);
      engine.prefill(expected.prefix);
      const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
      assertSame(sample, expected);
    }
    const [matrix] = weights.matrices.values();
    const eight = quantizeTensor(dequantizeTensor(matrix), matrix.layout, 8);
    assert.throws(() => engine.updateWeights([eight]), /in 8 bits .+ wants 4 bits or float32$/);
  },
});

Deno.test({
  name: "DecodeEngine takes image tokens from a GPU buffer",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, engine, gpu: { device } } = micro;
    const expected = await decodeWithTfjs(policy, makeObservations(6, 1)[0], GREEDY);
    const host = expected.prefix.imageTokens as Float32Array<ArrayBuffer>;
    const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: host.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, host);
    engine.prefill({ ...expected.prefix, imageTokens: buffer });
    const sample = await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    assertSame(sample, expected);
    buffer.destroy();
  },
});

Deno.test({
  name: "DecodeEngine.updateWeights() writes any weights without making anything",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, engine } = micro;
    const created = engine.buffersCreated;
    using other = makePolicy({}, 7);
    const float32 = await other.network.backbone.toHost();
    const weights = await quantizePolicy(other, 8);
    const quantized = [...weights.matrices.values(), ...weights.floats.values()];
    const observation = makeObservations(8, 1)[0];
    const sample = async (expected: ReferenceChunk) => {
      engine.prefill(expected.prefix);
      return await engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    };
    const before = await decodeWithTfjs(policy, observation, GREEDY);
    const after = await decodeWithTfjs(other, observation, GREEDY);
    assertSame(await sample(before), before);
    engine.updateWeights(quantized);
    assertSame(await sample(after), after);
    engine.updateWeights([...micro.weights.matrices.values(), ...micro.weights.floats.values()]);
    assertSame(await sample(before), before);
    // Float32 weights are quantised on the way, to the same integers.
    const ours = float32.filter(({ name }) => engine.weightNames.includes(name));
    engine.updateWeights([...ours, ...weights.floats.values()]);
    assertSame(await sample(after), after);
    assert.equal(engine.buffersCreated, created);
  },
});

Deno.test({
  name: "DecodeEngine refuses what does not fit, in a sentence, and goes on",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, engine, gpu, weights } = micro;
    const model = engineModelOf(policy);
    const expected = await decodeWithTfjs(policy, makeObservations(9, 1)[0], GREEDY);
    const { prefix, maxTokens } = expected;

    await assert.rejects(engine.sample({ ...GREEDY, maxTokens }), /nothing has been prefilled/);
    const wrong: [Partial<typeof prefix> & { promptPlaces?: number }, RegExp][] = [
      [{ forced: new Int32Array(0) }, /there must be a forced word/],
      [{ prompt: Int32Array.of(420) }, /token 420 is not in \[0, 420\)/],
      [{ prompt: Int32Array.of(-1) }, /token -1 is not in/],
      [{ prompt: new Int32Array(64) }, /leave none of 64 for actions/],
      [{ promptPlaces: 1 }, /1 places for a prompt of/],
      [{ imageTokens: new Float32Array(7) }, /these are 7$/],
    ];
    for (const [change, message] of wrong) {
      assert.throws(() => engine.prefill({ ...prefix, ...change }), {
        name: "RangeError",
        message,
      });
    }
    engine.prefill(prefix);
    for (const temperature of [-1, NaN, Infinity]) {
      const sampling = { ...GREEDY, temperature, maxTokens };
      await assert.rejects(engine.sample(sampling), /must be finite and ≥ 0/);
    }
    await assert.rejects(engine.sample({ ...GREEDY, maxTokens: 1 }), /raise the token budget/);
    await assert.rejects(engine.sample({ ...GREEDY, maxTokens: 60 }), /the cache has \d+ places$/);

    const [embedding] = [...weights.matrices.values()].filter(({ name }) => /embedding/.test(name));
    const stray = { name: "PaliGemma/img/head/bias", shape: [32], data: new Float32Array(32) };
    assert.throws(
      () => engine.updateWeights([stray]),
      /has no parameter PaliGemma\/img\/head\/bias/,
    );
    const short = { name: embedding.name, shape: [3, 32], data: new Float32Array(96) };
    assert.throws(() => engine.updateWeights([short]), /it wants \[420,32\]$/);

    const sampling = engine.sample({ ...GREEDY, maxTokens });
    assert.throws(() => engine.prefill(prefix), /is decoding a chunk/);
    assert.throws(() => engine.updateWeights([embedding]), /is decoding a chunk/);
    await assert.rejects(engine.sample({ ...GREEDY, maxTokens }), /is decoding another chunk/);
    assertSame(await sampling, expected);

    const lora = { ...model, gemma: MICRO_LORA.gemma };
    await assert.rejects(
      DecodeEngine.create(gpu, lora, weights),
      /q_einsum\/lora_a is missing$/,
    );
    const odd = { ...model, gemma: { ...MICRO.gemma, lora: { rank: 6, alpha: 6 } } };
    await assert.rejects(
      DecodeEngine.create(gpu, odd, weights),
      /rank 6, which must be a multiple/,
    );
    const none = { matrices: new Map(), floats: new Map() };
    await assert.rejects(DecodeEngine.create(gpu, model, none), /q_einsum\/w is missing$/);
  },
});

Deno.test({
  name: "DecodeEngine stops at numbers that are not finite",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, engine, weights } = micro;
    const expected = await decodeWithTfjs(policy, makeObservations(10, 1)[0], GREEDY);
    const { prefix, maxTokens } = expected;
    const norm = weights.floats.get("PaliGemma/llm/final_norm/scale")!;
    engine.updateWeights([{ ...norm, data: norm.data.map(() => Infinity) }]);
    engine.prefill(prefix);
    const sampled = engine.sample({ ...GREEDY, maxTokens });
    await assert.rejects(sampled, { name: "NonFiniteError", message: /a logit of token 0 is not/ });
    engine.updateWeights([norm]);
    engine.prefill(prefix);
    assertSame(await engine.sample({ ...GREEDY, maxTokens }), expected);
  },
});

Deno.test({
  name: "DecodeEngine says so when the device is lost in the middle of a chunk",
  ignore,
  async fn() {
    using micro = await openMicro();
    const { policy, engine, gpu } = micro;
    const expected = await decodeWithTfjs(policy, makeObservations(11, 1)[0], GREEDY);
    engine.prefill(expected.prefix);
    const sampled = engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    gpu.device.destroy();
    await assert.rejects(sampled, { name: "GpuLostError" });
  },
});

Deno.test("DecodeEngine.create() keeps nothing when the device has no room for all", async () => {
  await useDevice("cpu");
  const fake = new FakeGpu({ memoryBytes: 20_000 });
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  Object.assign(gpu.device, { queue: { writeBuffer: () => {} } });
  using policy = makePolicy();
  const none = { matrices: new Map(), floats: new Map() };
  await assert.rejects(DecodeEngine.create(gpu, engineModelOf(policy), none), {
    name: "GpuMemoryError",
    message: /^Cannot make a decode engine: Some GPU 4000 has no room for \d+ bytes \(not enough/,
  });
  assert.equal(fake.devices[0].bytes, 0);
});

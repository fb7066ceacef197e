import assert from "node:assert/strict";
import { openGpuDevice } from "../device/gpu_device.ts";
import { FakeGpu } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { makeObservations, makePolicy, MICRO_LORA } from "../policy/testing.ts";
import { seededRandom } from "../random.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter } from "./testing.ts";
import { assertSame, GREEDY, openMicro } from "./testing_micro.ts";

const ignore = !await hasAdapter();
/** Far below a watchdog's patience and far above what a busy machine takes. */
const QUICK_MS = 5_000;
const NO_WEIGHTS = { matrices: new Map(), floats: new Map() };

Deno.test({
  name: "DecodeEngine with adapters makes no buffer in 200 chunks and frees all",
  ignore,
  async fn() {
    const options = { stepsPerSubmit: 64 }; // one submission a chunk takes less time
    using micro = await openMicro({ variant: MICRO_LORA, valueInput: "chunk" }, options);
    const { policy, engine, weights } = micro;
    const { prefix } = await decodeWithTfjs(policy, makeObservations(7, 1)[0], GREEDY);
    const update = [...weights.floats.values()].filter(({ name }) => /lora|value_head/.test(name));
    const maxTokens = policy.grammar.minTokens + 1; // short chunks take less time
    const before = [engine.buffersCreated, engine.gpuBytes, engine.pipelines];
    const random = seededRandom(1);
    for (let chunk = 0; chunk < 200; chunk++) {
      if (chunk % 10 === 0) engine.updateWeights(update);
      assert.equal(engine.prefill({ ...prefix, imagesVersion: 1 }), chunk % 10 === 0);
      const { tokens, value } = await engine.sample({ temperature: 1, random, maxTokens });
      policy.grammar.check(tokens, maxTokens);
      assert.ok(Number.isFinite(value));
    }
    assert.deepEqual([engine.buffersCreated, engine.gpuBytes, engine.pipelines], before);
    engine[Symbol.dispose]();
    assert.equal(engine.gpuBytes, 0);
  },
});

Deno.test({
  name: "DecodeEngine says so at once when the device is lost, whatever it was doing",
  ignore,
  async fn() {
    const lost = { name: "GpuLostError" };
    for (const moment of ["between blocks", "behind the prefill", "before the prefill"] as const) {
      using micro = await openMicro({ variant: MICRO_LORA }, { stepsPerSubmit: 1 });
      const { policy, engine, gpu, weights } = micro;
      const { prefix, maxTokens } = await decodeWithTfjs(
        policy,
        makeObservations(8, 1)[0],
        GREEDY,
      );
      const sampling = { ...GREEDY, maxTokens };
      if (moment !== "before the prefill") engine.prefill(prefix);
      const sampled = moment === "between blocks" ? engine.sample(sampling) : null;
      // The first blocks are done then, the last are not submitted.
      if (sampled) await gpu.device.queue.onSubmittedWorkDone();
      const start = performance.now();
      gpu.device.destroy();
      if (sampled) await assert.rejects(sampled, lost);
      await gpu.lost;
      if (moment === "behind the prefill") await assert.rejects(engine.sample(sampling), lost);
      assert.throws(() => engine.prefill(prefix), lost);
      assert.throws(() => engine.updateWeights(weights.floats.values()), lost);
      assert.ok(performance.now() - start < QUICK_MS, moment);
      engine[Symbol.dispose]();
      assert.equal(engine.gpuBytes, 0);
    }
  },
});

Deno.test({
  name: "DecodeEngine is made anew on another device after a loss",
  ignore,
  async fn() {
    using first = await openMicro();
    first.engine.prefill(
      (await decodeWithTfjs(first.policy, makeObservations(9, 1)[0], GREEDY)).prefix,
    );
    first.gpu.device.destroy();
    using second = await openMicro();
    const expected = await decodeWithTfjs(second.policy, makeObservations(9, 1)[0], GREEDY);
    second.engine.prefill(expected.prefix);
    const sample = await second.engine.sample({ ...GREEDY, maxTokens: expected.maxTokens });
    assertSame(sample, expected);
  },
});

Deno.test("DecodeEngine.create() keeps nothing when a buffer is larger than the device takes", async () => {
  await useDevice("cpu");
  const fake = new FakeGpu();
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  Object.assign(gpu.device, { queue: { writeBuffer: () => {} } });
  using policy = makePolicy({ variant: MICRO_LORA });
  const endless = { ...engineModelOf(policy), maxTextTokens: 2 ** 20 };
  await assert.rejects(DecodeEngine.create(gpu, endless, NO_WEIGHTS), {
    name: "RangeError",
    message: /^Cannot make GPU buffer prefix \w+: it needs \d+ bytes, the device allows 134217728/,
  });
  assert.equal(fake.devices[0].bytes, 0);
});

Deno.test("DecodeEngine.create() refuses a device whose kernels take too few buffers", async () => {
  await useDevice("cpu");
  const fake = new FakeGpu();
  using gpu = await openGpuDevice({ allowSoftware: false, gpu: fake });
  for (const [variant, limit] of [[MICRO_LORA, 8], [undefined, 4]] as const) {
    Object.assign(gpu.device.limits, { maxStorageBuffersPerShaderStage: limit });
    using policy = makePolicy(variant ? { variant } : {});
    await assert.rejects(DecodeEngine.create(gpu, engineModelOf(policy), NO_WEIGHTS), {
      name: "RangeError",
      message: new RegExp(`the device binds ${limit} storage buffers to a kernel`),
    });
  }
  assert.equal(fake.devices[0].bytes, 0);
});

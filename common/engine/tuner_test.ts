import assert from "node:assert/strict";
import type { GpuDevice } from "../device/gpu_device.ts";
import { openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { makeObservations, makePolicy } from "../policy/testing.ts";
import type { Logger } from "../types.ts";
import { matmulFormats } from "./bind_matmul.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { EngineWeights } from "./engine_weights.ts";
import { GpuBuffers } from "./gpu_buffers.ts";
import { uniformPlan } from "./matrix_plan.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy } from "./testing.ts";
import { defaultMatvec, matvecShapes, tune, type Tuning, tuningKey, tuningLine } from "./tuner.ts";
import type { TuningStore } from "./tuning_store.ts";

const ignore = !await hasAdapter();

function listen(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const add = (message: string) => void lines.push(message);
  return { logger: { info: add, warn: add, error: add }, lines };
}

function memoryStore(): TuningStore & { entries: Map<string, Tuning> } {
  const entries = new Map<string, Tuning>();
  return {
    entries,
    read: (key) => Promise.resolve(entries.get(key)),
    write: (key, tuning) => Promise.resolve(void entries.set(key, tuning)),
  };
}

/** A small model's weights on the device. Owner of all of it. */
async function openWeights() {
  await useDevice("cpu");
  using stack = new DisposableStack();
  using policy = makePolicy();
  const model = engineModelOf(policy);
  const gpu = stack.use(await openAny());
  const buffers = stack.use(new GpuBuffers(gpu.device));
  const { layers } = new EngineWeights(model, uniformPlan(8), buffers);
  const owned = stack.move();
  return { gpu, model, layers, [Symbol.dispose]: () => owned.dispose() };
}

/** A clock that moves by so much at every look. */
function ticking(stepMs: number): () => number {
  let at = 0;
  return () => at += stepMs;
}

Deno.test({
  name: "tune() measures both products, says so in a line and remembers it",
  ignore,
  async fn() {
    using weights = await openWeights();
    const { gpu, model, layers } = weights;
    const { logger, lines } = listen();
    const store = memoryStore();
    // Time enough for some candidates, however slow the machine is.
    const options = { allowSoftware: true, store, logger, now: ticking(20), budgetMs: 300 };
    const tuning = await tune(gpu, model, layers, options);
    assert.ok(tuning && tuning.gigabytesPerSecond > 0 && tuning.teraflops > 0);
    assert.ok(matmulFormats(gpu).includes(tuning.matmul));
    assert.ok(
      matvecShapes(gpu).some((shape) => JSON.stringify(shape) === JSON.stringify(tuning.matvec)),
    );
    assert.equal(lines.length, 1);
    assert.match(
      lines[0],
      /^tuned in [\d.]+ s: matvec \d+ threads × \d rows with(out)? subgroups \S+ GB\/s; prefill (float32|float16|int8) tiles \S+ TFLOP\/s$/,
    );
    const known = { ...tuning, teraflops: 1e6 };
    for (const key of store.entries.keys()) store.entries.set(key, known);
    assert.equal(await tune(gpu, model, layers, options), known);
    assert.match(lines[1], /^tuned before: .+ 1\.00e\+6 TFLOP\/s$/);
    // Another limit is another question.
    const exact = await tune(gpu, model, layers, { ...options, activations: "float32" });
    assert.equal(exact?.matmul, "float32");
    assert.equal(store.entries.size, 2);
  },
});

Deno.test({
  name: "tune() keeps the defaults, and remembers nothing, when there is no time",
  ignore,
  async fn() {
    using weights = await openWeights();
    const { gpu, model, layers } = weights;
    const store = memoryStore();
    const { logger, lines } = listen();
    const options = { allowSoftware: true, store, logger, budgetMs: 0 };
    assert.deepEqual(await tune(gpu, model, layers, options), {
      matvec: defaultMatvec(gpu),
      matmul: "float32",
      gigabytesPerSecond: 0,
      teraflops: 0,
    });
    assert.equal(store.entries.size, 0);
    assert.match(lines[0], /subgroups not measured; prefill float32 tiles not measured$/);
  },
});

Deno.test({
  name: "tune() leaves a software renderer alone unless asked, and ends when the device goes",
  ignore,
  async fn() {
    using weights = await openWeights();
    const { gpu, model, layers } = weights;
    if (gpu.info.isSoftware) assert.equal(await tune(gpu, model, layers), undefined);
    gpu.device.destroy();
    const lost = tune(gpu, model, layers, { allowSoftware: true });
    await assert.rejects(lost, { name: "GpuLostError" });
  },
});

Deno.test({
  name: "tuningKey() changes with what the answer depends on",
  ignore,
  async fn() {
    using weights = await openWeights();
    const { gpu, model, layers: [layer] } = weights;
    const key = tuningKey(gpu, model, layer, "int8");
    const bigger = { ...model, gemma: { ...model.gemma, mlpDim: 4096 } };
    const other = { adapterInfo: { ...gpu.adapterInfo, description: "another" } };
    const others = [
      tuningKey(gpu, bigger, layer, "int8"),
      tuningKey(gpu, model, layer, "float32"),
      tuningKey(gpu, model, { ...layer, down: { ...layer.down, bits: 4 } }, "int8"),
      tuningKey({ ...gpu, features: gpu.features, ...other } as GpuDevice, model, layer, "int8"),
    ];
    assert.equal(new Set([key, ...others]).size, 5);
    assert.ok(key.includes(`deno ${Deno.version.deno}`));
  },
});

Deno.test({
  name: "DecodeEngine.create() uses a tuning, tunes by itself when told, and decodes alike",
  ignore,
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy();
    const weights = await quantizePolicy(policy, 8);
    const model = engineModelOf(policy);
    using gpu = await openAny();
    const greedy = { temperature: 0, random: () => 0 };
    const expected = await decodeWithTfjs(policy, makeObservations(4, 1)[0], greedy);
    const decode = async (engine: DecodeEngine) => {
      engine.prefill(expected.prefix);
      const { tokens } = await engine.sample({ ...greedy, maxTokens: expected.maxTokens });
      assert.deepEqual([...tokens], expected.tokens);
    };
    const options = { allowSoftware: true, now: ticking(20), budgetMs: 300 };
    using tuned = await DecodeEngine.create(gpu, model, weights, {
      tune: { ...options, activations: "float32" },
    });
    assert.ok(tuned.tuning);
    await decode(tuned);
    const tuning = { ...tuned.tuning, matvec: { threads: 64, rows: 8, usesSubgroups: false } };
    using given = await DecodeEngine.create(gpu, model, weights, { tuning });
    assert.equal(given.tuning, tuning);
    await decode(given);
  },
});

Deno.test("tuningLine() reads as a sentence of a log", () => {
  const line = tuningLine({
    matvec: { threads: 256, rows: 4, usesSubgroups: true },
    matmul: "float16",
    gigabytesPerSecond: 612.4,
    teraflops: 38.01,
  }, "tuned in 1.2 s");
  assert.equal(
    line,
    "tuned in 1.2 s: matvec 256 threads × 4 rows with subgroups 612 GB/s; " +
      "prefill float16 tiles 38.0 TFLOP/s",
  );
});

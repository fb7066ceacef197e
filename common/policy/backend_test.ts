import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { closeGpu, currentGpu } from "../device/current_gpu.ts";
import { FakeGpu, whyNoWebgpu } from "../device/testing.ts";
import { randomSource } from "../tokenizer/testing.ts";
import { type DeviceName, useDevice } from "./backend.ts";
import { forward, startDecoding } from "./network.ts";
import {
  countTensors,
  makeObservations,
  makePolicy,
  maxDifference,
  MICRO_LORA,
  randomTokens,
  take,
} from "./testing.ts";

const reason = await whyNoWebgpu();
// Said here: a test that is skipped prints nothing of its own.
if (reason) console.log(`Tests of the webgpu backend are skipped: ${reason}.`);

for (const device of ["cpu", "wasm"] as const) {
  Deno.test(`useDevice() makes ${device} current, and may be called again`, async () => {
    for (let i = 0; i < 2; i++) {
      assert.deepEqual(await useDevice(device), { backend: device, reason: "it was asked for" });
      assert.equal(tf.getBackend(), device);
    }
  });
}

Deno.test("useDevice() refuses a device that does not exist", async () => {
  await assert.rejects(useDevice("abacus" as DeviceName), /abacus/);
});

Deno.test("useDevice() says what to do when there is no adapter", async () => {
  const none = { requestAdapter: () => Promise.resolve(null) };
  await assert.rejects(useDevice("webgpu", none), {
    message: "Cannot use --device webgpu: no WebGPU adapter was found; install a Vulkan driver " +
      "(Debian: mesa-vulkan-drivers) or use --device wasm",
  });
  assert.equal(currentGpu(), null);
});

for (
  const [what, gpu, problem] of [
    ["no adapter", { requestAdapter: () => Promise.resolve(null) }, "no WebGPU adapter was found"],
    [
      "only a software renderer",
      new FakeGpu({ description: "llvmpipe (LLVM 15)" }),
      "the only WebGPU adapter found is the software renderer llvmpipe (LLVM 15)",
    ],
    [
      "a GPU that gives no device",
      new FakeGpu({ refusals: ["busy", "busy"], granted: ["subgroups"] }),
      "Some GPU 4000 gave no device (busy)",
    ],
  ] as const
) {
  Deno.test(`useDevice() computes on wasm where there is ${what}, and says so`, async () => {
    const reason = `auto found no GPU to use: ${problem}`;
    assert.deepEqual(await useDevice("auto", gpu), { backend: "wasm", reason });
    assert.equal(tf.getBackend(), "wasm");
  });
}

Deno.test("useDevice() takes the GPU that it finds, and says which", async () => {
  const gpu = new FakeGpu({ granted: ["subgroups"] });
  const [chosen] = await Promise.all([useDevice("auto", gpu), useDevice("auto", gpu)]);
  assert.deepEqual([chosen.backend, chosen.reason], [
    "webgpu",
    "auto found the GPU Some GPU 4000 (16-bit floats, subgroups, timestamps)",
  ]);
  assert.equal(tf.getBackend(), "webgpu");
  assert.equal(chosen.gpu, currentGpu());
  await useDevice("auto", gpu);
  assert.equal(gpu.devices.length, 1, "later calls go on with the device that there is");
  await closeGpu();
  assert.equal(currentGpu(), null);
  await useDevice("cpu");
});

Deno.test("useDevice() takes a software renderer that was asked for, and calls it so", {
  ignore: reason !== undefined,
}, async () => {
  const { backend, reason, gpu } = await useDevice("webgpu");
  assert.equal(backend, "webgpu");
  assert.ok(reason.startsWith(`it was asked for: ${gpu!.info.name}`));
  assert.equal(gpu!.info.isSoftware, reason.includes("(a software renderer"));
  if (gpu!.info.isSoftware) {
    assert.equal((await useDevice("auto")).backend, "wasm", "auto does not take it up");
  }
  await closeGpu();
  await useDevice("cpu");
});

async function compute(device: "cpu" | "webgpu") {
  await useDevice(device);
  const before = countTensors();
  const out: { logits: Float32Array; value: Float32Array; decoded: Float32Array[] }[] = [];
  for (const valueInput of ["observation", "chunk"] as const) {
    using policy = makePolicy({ variant: MICRO_LORA, valueInput });
    const input = policy.prepareInput(makeObservations(1, 3));
    const tokens = randomTokens(2, [5, 5, 5], policy.network.fastVocab);
    const { logits, value } = tf.tidy(() => ({ ...forward(policy.network, input, tokens) }));
    using decoding = await startDecoding(policy.network, input, 5);
    const decoded = [decoding.logits];
    for (let s = 0; s < 4; s++) {
      await decoding.feed(tokens.map((row) => row[s]));
      decoded.push(decoding.logits);
    }
    out.push({ logits: await take(logits), value: await take(value), decoded });
  }
  assert.equal(countTensors(), before);
  return out;
}

Deno.test("the policy computes the same on webgpu as on cpu", {
  ignore: reason !== undefined,
  // tfjs keeps its GPU device and buffer pool for the life of the process.
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  const [cpu, webgpu] = [await compute("cpu"), await compute("webgpu")];
  cpu.forEach((expected, i) => {
    assert.ok(maxDifference(webgpu[i].logits, expected.logits) < 2e-3, "logits");
    assert.ok(maxDifference(webgpu[i].value, expected.value) < 2e-3, "values");
    expected.decoded.forEach((logits, s) => {
      assert.ok(maxDifference(webgpu[i].decoded[s], logits) < 2e-3, `decoded logits ${s}`);
    });
  });
});

Deno.test("chunks sampled on webgpu have the log-probabilities that cpu computes", {
  ignore: reason !== undefined,
  sanitizeOps: false,
  sanitizeResources: false,
}, async () => {
  await useDevice("webgpu");
  const observations = makeObservations(3, 2);
  using sampler = makePolicy();
  const options = { temperature: 1, random: randomSource(3) };
  const chunks = await sampler.sampleActions(observations, options);
  await useDevice("cpu");
  using learner = makePolicy();
  const tokens = chunks.map((c) => c.tokens);
  const logProb = await learner.computeActionChunkLogProb(observations, tokens);
  assert.ok(maxDifference(logProb, chunks.map((c) => c.logProb)) < 2e-3);
});

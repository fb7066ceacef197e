import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
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

/** Why WebGPU cannot be tested here; undefined if it can. */
async function whyNoWebgpu(): Promise<string | undefined> {
  if (!navigator.gpu) return "this Deno has no navigator.gpu";
  if (await navigator.gpu.requestAdapter()) return undefined;
  return "there is no WebGPU adapter; Debian's mesa-vulkan-drivers gives a software one";
}

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

if (reason) {
  Deno.test("useDevice() says what to do when there is no adapter", async () => {
    await assert.rejects(useDevice("webgpu"), {
      message: "Cannot use --device webgpu: no WebGPU adapter was found; install a Vulkan driver " +
        "(Debian: mesa-vulkan-drivers) or use --device wasm",
    });
  });
}

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

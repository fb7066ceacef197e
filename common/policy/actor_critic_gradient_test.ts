import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { randomSource } from "../tokenizer/testing.ts";
import type { ActorCritic, Evaluation } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import { makeObservations, makePolicy, maxDifference, MICRO_LORA, take } from "./testing.ts";

/** A scalar of a policy's evaluation, as a function of its weights. */
async function makeObjective(policy: ActorCritic, of: (e: Evaluation) => tf.Tensor) {
  const observations = makeObservations(1, 2);
  const chunks = await policy.sampleActions(observations, {
    temperature: 1,
    random: randomSource(2),
  });
  const prepared = policy.prepareChunks(observations, chunks.map((c) => c.tokens));
  return () => tf.tidy(() => tf.sum(of(policy.evaluate(prepared))) as tf.Scalar);
}

async function gradientOf(objective: () => tf.Scalar, variable: tf.Variable) {
  const { value, grads } = tf.variableGrads(objective, [variable]);
  value.dispose();
  return await take(grads[variable.name]);
}

/** Central difference of the objective in one number of a variable. */
async function difference(objective: () => tf.Scalar, variable: tf.Variable, index: number) {
  const STEP = 4e-3; // the best of rounding and curvature for float32 and a sum of about −50
  const original = await variable.data<"float32">();
  const at = async (offset: number) => {
    const data = Float32Array.from(original);
    data[index] += offset;
    tf.tidy(() => variable.assign(tf.tensor(data, variable.shape)));
    return (await take(objective()))[0];
  };
  const result = (await at(STEP) - await at(-STEP)) / (2 * STEP);
  await at(0);
  return result;
}

async function checkGradient(
  objective: () => tf.Scalar,
  variable: tf.Variable,
  path: string,
): Promise<void> {
  const gradient = await gradientOf(objective, variable);
  // Where the slope is steepest, float32 noise matters least.
  const index = gradient.reduce(
    (best, g, i) => (Math.abs(g) > Math.abs(gradient[best]) ? i : best),
    0,
  );
  const expected = await difference(objective, variable, index);
  const error = Math.abs(gradient[index] - expected) / Math.abs(expected);
  assert.ok(error < 1e-2, `${path}: gradient ${gradient[index]}, difference ${expected}`);
}

const BACKBONE = [
  ["PaliGemma/img/embedding/kernel", 0],
  ["PaliGemma/img/Transformer/encoderblock/MultiHeadDotProductAttention_0/key/kernel", 1],
  ["PaliGemma/img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel", 0],
  ["PaliGemma/llm/embedder/input_embedding", 0],
  ["PaliGemma/llm/layers/attn/q_einsum/w", 1],
  ["PaliGemma/llm/layers/attn/kv_einsum/w", 0],
  ["PaliGemma/llm/layers/mlp/gating_einsum", 3],
  ["PaliGemma/llm/layers/pre_attention_norm/scale", 1],
] as const;

Deno.test("the log-probability's gradient equals central differences", async () => {
  await useDevice("cpu");
  using policy = makePolicy();
  const objective = await makeObjective(policy, (e) => e.logProb);
  for (const [path, index] of BACKBONE) {
    await checkGradient(objective, policy.network.backbone.get(path, index), path);
  }
});

Deno.test("the entropy's gradient equals central differences", async () => {
  await useDevice("cpu");
  using policy = makePolicy();
  const objective = await makeObjective(policy, (e) => tf.mul(e.entropy, 20));
  for (const [path, index] of BACKBONE.slice(3, 6)) {
    await checkGradient(objective, policy.network.backbone.get(path, index), path);
  }
});

for (const valueInput of ["observation", "chunk"] as const) {
  Deno.test(`the ${valueInput} critic's gradient equals central differences`, async () => {
    await useDevice("cpu");
    using policy = makePolicy({ valueInput });
    const objective = await makeObjective(policy, (e) => e.value);
    for (const path of ["dense_0/kernel", "dense_1/bias", "out/kernel"]) {
      await checkGradient(objective, policy.network.valueHead.get(path), path);
    }
    const path = "PaliGemma/llm/layers/attn/attn_vec_einsum/w";
    await checkGradient(objective, policy.network.backbone.get(path, 0), path);
  });
}

Deno.test("a detached critic's value has the same gradient in the critic, and none in the backbone", async () => {
  await useDevice("cpu");
  const gradients = [];
  for (const isCriticDetached of [false, true]) {
    using policy = makePolicy({ isCriticDetached });
    const objective = await makeObjective(policy, (e) => e.value);
    const { backbone, valueHead } = policy.network;
    gradients.push({
      critic: await gradientOf(objective, valueHead.get("dense_0/kernel")),
      backbone: await gradientOf(objective, backbone.get("PaliGemma/llm/final_norm/scale")),
    });
  }
  const [attached, detached] = gradients;
  assert.ok(maxDifference(attached.critic, detached.critic) < 1e-6);
  assert.ok(attached.backbone.some((g) => Math.abs(g) > 1e-3));
  assert.ok(detached.backbone.every((g) => g === 0));
});

Deno.test("every adapter gets a gradient, equal to central differences", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ variant: MICRO_LORA });
  const objective = await makeObjective(policy, (e) => e.logProb);
  const adapters = policy.network.backbone.specs
    .map(({ path }) => path)
    .filter((path) => path.includes("lora"));
  assert.equal(adapters.length, 10);
  for (const path of adapters) {
    await checkGradient(objective, policy.network.backbone.get(path, 0), path);
  }
});

Deno.test("all gradients on wasm equal those on cpu", async () => {
  const gradients = async (device: "cpu" | "wasm") => {
    await useDevice(device);
    using policy = makePolicy({ variant: MICRO_LORA, valueInput: "chunk" });
    const objective = await makeObjective(policy, (e) => tf.add(e.logProb, e.value));
    const { backbone, valueHead } = policy.network;
    const variables = [...backbone.select(() => true), ...valueHead.select(() => true)];
    const { value, grads } = tf.variableGrads(objective, variables);
    value.dispose();
    const out = [];
    for (const { name } of variables) out.push(await take(grads[name]));
    return out;
  };
  const [cpu, wasm] = [await gradients("cpu"), await gradients("wasm")];
  cpu.forEach((gradient, i) => {
    const largest = gradient.reduce((m, g) => Math.max(m, Math.abs(g)), 0);
    assert.ok(largest > 0, `variable ${i} gets a gradient`);
    assert.ok(maxDifference(gradient, wasm[i]) < 1e-3 * largest + 1e-5, `variable ${i}`);
  });
});

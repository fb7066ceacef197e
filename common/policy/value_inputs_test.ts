import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { VALUE_INPUTS } from "../config/config.ts";
import { engineModelOf } from "../engine/engine_model.ts";
import { seededRandom } from "../random.ts";
import { useDevice } from "./backend.ts";
import { policySignature } from "./load.ts";
import { POOL_QUERY } from "./parameters.ts";
import type { Tensor } from "./tensors.ts";
import { countTensors, makeObservations, makePolicy, maxDifference, take } from "./testing.ts";
import { poolByAttention } from "./value_head.ts";

await useDevice("wasm");

const observations = makeObservations(4, 3);
const sampling = () => ({ temperature: 1, random: seededRandom(6) });

for (const valueInput of VALUE_INPUTS) {
  Deno.test(`the ${valueInput} critic tells acting and training the same value`, async () => {
    using policy = makePolicy({ valueInput });
    const alive = countTensors();
    const chunks = await policy.sampleActions(observations, sampling());
    const tokens = chunks.map((chunk) => chunk.tokens);
    const values = await policy.computeActionChunkValue(observations, tokens);
    assert.ok(maxDifference(values, chunks.map((chunk) => chunk.value)) < 1e-5);
    assert.ok(Math.abs(values[0] - values[1]) > 1e-3, "values depend on the observation");
    // Alone, a row has no padding: a critic that read it would say something else here.
    for (const [i, observation] of observations.entries()) {
      const [alone] = await policy.computeActionChunkValue([observation], [tokens[i]]);
      assert.ok(Math.abs(alone - values[i]) < 1e-5, `row ${i}: ${alone} and ${values[i]}`);
    }
    assert.equal(countTensors(), alive);
  });
}

Deno.test("critics of observations do not see the chunk, and say the same without one", async () => {
  for (const valueInput of ["observation", "attention"] as const) {
    using policy = makePolicy({ valueInput });
    const [first, second] = await Promise.all([1, 2].map(async (seed) => {
      const random = seededRandom(seed);
      const chunks = await policy.sampleActions(observations, { temperature: 1, random });
      return chunks.map((chunk) => chunk.value);
    }));
    assert.deepEqual(first, second);
    assert.ok(maxDifference(await policy.observationValues(observations), first) < 1e-6);
  }
});

Deno.test("the attention critic has a gradient for its query, and none behind it when detached", async () => {
  for (const isCriticDetached of [true, false]) {
    using policy = makePolicy({ valueInput: "attention", isCriticDetached });
    const chunks = await policy.sampleActions(observations, sampling());
    const prepared = policy.prepareChunks(observations, chunks.map((chunk) => chunk.tokens));
    const { valueHead, backbone } = policy.network;
    const query = valueHead.get(POOL_QUERY);
    const norm = backbone.get("PaliGemma/llm/layers/pre_attention_norm/scale", 0);
    const loss = () => tf.sum(policy.evaluate(prepared).value) as tf.Scalar;
    const { value, grads } = tf.variableGrads(loss, [query, norm] as tf.Variable[]);
    const slope = await take(grads[query.name]);
    const behind = await take(grads[norm.name]);
    const middle = (await take(value as Tensor))[0];
    assert.equal(behind.some((x) => x !== 0), !isCriticDetached);
    // A small step along the gradient changes the value as the gradient says.
    const step = 1e-2 / Math.hypot(...slope);
    tf.tidy(() => query.assign(tf.add(query, tf.tensor(slope.map((x) => x * step), query.shape))));
    const after = (await take(tf.tidy(loss)))[0];
    const told = step * slope.reduce((sum, x) => sum + x * x, 0);
    assert.ok(Math.abs(after - middle - told) < 0.05 * told, `${after - middle} and ${told}`);
  }
});

Deno.test("poolByAttention() leaves out what is masked and does not mind the order", async () => {
  using policy = makePolicy({ valueInput: "attention" });
  const { valueHead } = policy.network;
  const width = policy.shape.variant.gemma.width;
  const random = seededRandom(3);
  const row = () => Array.from({ length: width }, () => 2 * random() - 1);
  const [a, b, noise] = [row(), row(), row()];
  const pool = (states: number[][], mask: number[]) =>
    take(tf.tidy(() => poolByAttention(valueHead, tf.tensor3d([states]), tf.tensor2d([mask]))));
  const both = await pool([a, b], [0, 0]);
  assert.ok(maxDifference(both, await pool([noise, b, a], [-2.4e38, 0, 0])) < 1e-6);
  assert.ok(maxDifference(await pool([a, noise], [0, -2.4e38]), a) < 1e-6);
});

Deno.test("the attention critic is no other's peer, and no decode engine's", () => {
  using policy = makePolicy({ valueInput: "attention" });
  using other = makePolicy();
  assert.notEqual(policySignature(policy, 1).model, policySignature(other, 1).model);
  assert.throws(() => engineModelOf(policy), {
    name: "RangeError",
    message: /^Cannot build a decode engine: its critic reads by attention/,
  });
});

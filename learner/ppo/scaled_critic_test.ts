import assert from "node:assert/strict";
import { useDevice } from "../../common/policy/backend.ts";
import { readWeights } from "../../common/policy/load.ts";
import { assignWeights } from "../../common/policy/load.ts";
import { makeObservations, makePolicy, maxDifference } from "../../common/policy/testing.ts";
import { ScaledCritic } from "./scaled_critic.ts";
import { ValueNormalizer } from "./value_normalizer.ts";

await useDevice("wasm");

const observations = makeObservations(2, 3);
const RETURNS = [120, 80, -40, 300];

Deno.test("ScaledCritic keeps the critic's answers, in units of reward, as its returns come", async () => {
  using policy = makePolicy();
  const critic = new ScaledCritic(policy.network.valueHead);
  const before = await policy.observationValues(observations);
  for (let i = 0; i < 5; i++) await critic.see(RETURNS.map((x) => x * (i + 1)));
  const { mean, deviation } = critic.scale;
  assert.ok(deviation > 100);
  const inside = await policy.observationValues(observations);
  const outside = inside.map((value) => value * deviation + mean);
  // Five roundings of numbers as large as the mean.
  assert.ok(maxDifference(before, outside) < 1e-6 * 5 * Math.abs(mean), `${before} and ${outside}`);
});

Deno.test("ScaledCritic hands out weights that answer in units of reward, and keeps its own", async () => {
  using policy = makePolicy();
  using controller = makePolicy({}, 9);
  const critic = new ScaledCritic(policy.network.valueHead);
  await critic.see(RETURNS);
  const own = await readWeights(policy);
  assignWeights(controller, critic.unscale(own, "value_head/"));
  const { mean, deviation } = critic.scale;
  const inside = await policy.observationValues(observations);
  const told = await controller.observationValues(observations);
  assert.ok(maxDifference(told, inside.map((value) => value * deviation + mean)) < 1e-4);
  assert.deepEqual(await readWeights(policy), own);
  const fresh = new ScaledCritic(policy.network.valueHead);
  assert.deepEqual(fresh.unscale(own, "value_head/"), own);
});

Deno.test("ScaledCritic goes on from what it wrote, to the last bit", async () => {
  using policy = makePolicy();
  using copy = makePolicy({}, 9);
  const critic = new ScaledCritic(policy.network.valueHead);
  await critic.see(RETURNS);
  copy.network.valueHead.assign(await policy.network.valueHead.toHost());
  const resumed = new ScaledCritic(copy.network.valueHead);
  const { statistics } = critic.normalizer;
  const stored = JSON.parse(JSON.stringify(statistics));
  resumed.restore(new ValueNormalizer(undefined, stored), await critic.toHost());
  for (const one of [critic, resumed]) await one.see([7, 9]);
  assert.deepEqual(await resumed.toHost(), await critic.toHost());
  assert.deepEqual(resumed.scale, critic.scale);
});

import assert from "node:assert/strict";
import { toRobotActions } from "../common/policy/action_transform.ts";
import { useDevice } from "../common/policy/backend.ts";
import { HORIZON, makeObservations, makePolicy, maxDifference } from "../common/policy/testing.ts";
import { encodeTargets, factsOfPerson } from "./person_chunk.ts";

await useDevice("wasm");

Deno.test("encodeTargets() writes tokens that decode to the same targets, but for FAST's rounding", () => {
  using policy = makePolicy();
  const { shape, assets } = policy;
  const [seen] = makeObservations(3, 1);
  // A slow ramp of the first arm from where it stands; its gripper is where the statistics reach.
  const state = seen.state.with(6, 0.1);
  const targets = Float32Array.from(
    { length: HORIZON * 14 },
    (_, i) => state[i % 14] + (i % 14 < 6 ? 0.02 * (1 + Math.floor(i / 14)) : 0),
  );
  const tokens = encodeTargets(policy, targets, state);
  assert.equal(policy.grammar.coefficients, HORIZON * shape.actionDim);
  policy.grammar.check(tokens, policy.grammar.maxTokens);
  const actions = assets.fast.decode([...tokens], HORIZON, shape.actionDim);
  const back = toRobotActions(actions, state, shape.actionDim, assets.stats, shape);
  const span = Math.max(
    ...assets.stats.actions.q99!.map((q, i) => q - assets.stats.actions.q01![i]),
  );
  assert.ok(
    maxDifference(back, targets) < 0.1 * span,
    `${maxDifference(back, targets)} of ${span}`,
  );
});

Deno.test("encodeTargets() repeats the last target of a chunk that was cut", () => {
  using policy = makePolicy();
  const [{ state }] = makeObservations(4, 1);
  const cut = Float32Array.from([...state, ...state.map((x) => x + 0.05)]);
  const whole = Float32Array.from([...cut, ...cut.slice(14), ...cut.slice(14)]);
  assert.equal(HORIZON, 4);
  assert.deepEqual(encodeTargets(policy, cut, state), encodeTargets(policy, whole, state));
  for (const steps of [0, 5, 1.5]) {
    assert.throws(() => encodeTargets(policy, new Float32Array(14 * steps), state), RangeError);
  }
});

Deno.test("factsOfPerson() has the critic's value and no log-probabilities", async () => {
  using policy = makePolicy();
  const [seen] = makeObservations(5, 1);
  const { value, ...facts } = await factsOfPerson(policy, seen);
  assert.equal(value, (await policy.observationValues([seen]))[0]);
  assert.deepEqual(facts, {
    driver: "person",
    logProb: 0,
    tokenLogProbs: new Float32Array(0),
    behaviour: { precision: "float32", decoder: "wasm" },
  });
});

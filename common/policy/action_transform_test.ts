import assert from "node:assert/strict";
import fc from "fast-check";
import type { QuantileStats } from "../tokenizer/normalization.ts";
import { normalizeActions, toPolicyActions, toRobotActions } from "./action_transform.ts";
import { makeStats, maxDifference } from "./testing.ts";

const number = fc.float({ min: -1, max: 1, noNaN: true });
const vector = (length: number) =>
  fc.array(number, { minLength: length, maxLength: length }).map((x) => Float32Array.from(x));

function statsOf(actionDim: number): { state: QuantileStats; actions: QuantileStats } {
  const { state, actions } = makeStats();
  const repeat = (x: readonly number[]) => Array.from({ length: actionDim }, (_, i) => x[i % 7]);
  return {
    state,
    actions: {
      mean: repeat(actions.mean),
      std: repeat(actions.std),
      q01: repeat(actions.q01),
      q99: repeat(actions.q99),
    },
  };
}

for (const [actionDim, adaptToPi] of [[7, false], [14, false], [7, true], [14, true]] as const) {
  const convention = adaptToPi ? " in pi's convention" : "";
  Deno.test(`a chunk of ${actionDim} numbers a step survives the way to the policy and back${convention}`, () => {
    const stats = statsOf(actionDim);
    fc.assert(
      fc.property(vector(3 * 14), vector(14), (actions, state) => {
        const raw = toPolicyActions(actions, state, actionDim, { adaptToPi });
        assert.equal(raw.length, 3 * actionDim);
        const normalized = normalizeActions(raw, stats);
        const back = toRobotActions(normalized, state, actionDim, stats, { adaptToPi });
        const expected = actions.map((x, i) => (i % 14 < actionDim ? x : state[i % 14]));
        assert.ok(maxDifference(back, expected) < 1e-5);
      }),
      { numRuns: 50 },
    );
  });
}

Deno.test("an action mode decides which numbers are differences, both ways", () => {
  const state = Float32Array.from({ length: 14 }, (_, i) => i / 10);
  const targets = new Float32Array(14).fill(1);
  const stats = statsOf(14);
  for (const actionMode of ["delta", "delta_all", "absolute"] as const) {
    const raw = toPolicyActions(targets, state, 14, { actionMode });
    for (const i of [0, 5, 6, 7, 12, 13]) {
      const isDifference = actionMode !== "absolute" &&
        (actionMode === "delta_all" || i % 7 !== 6);
      assert.ok(Math.abs(raw[i] - (isDifference ? 1 - state[i] : 1)) < 1e-6, `${actionMode} ${i}`);
    }
    const back = toRobotActions(normalizeActions(raw, stats), state, 14, stats, { actionMode });
    assert.ok(maxDifference(back, targets) < 1e-5);
  }
});

Deno.test("joints are differences from the state, grippers are absolute", () => {
  const state = Float32Array.from({ length: 14 }, (_, i) => i / 10);
  const raw = toPolicyActions(Float32Array.from({ length: 14 }, () => 1), state, 14);
  assert.equal(raw[6], 1);
  assert.equal(raw[13], 1);
  assert.ok(Math.abs(raw[5] - 0.5) < 1e-6 && Math.abs(raw[7] - 0.3) < 1e-6);
});

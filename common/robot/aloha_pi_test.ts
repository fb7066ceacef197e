import assert from "node:assert/strict";
import fc from "fast-check";
import { actionsFromPi, actionsToPi, stateToPi } from "./aloha_pi.ts";

// Equality with openpi's aloha_policy.py is tested in tests/openpi/.

const number = fc.float({ min: -3, max: 3, noNaN: true });
const rows = fc.array(number, { minLength: 28, maxLength: 28 })
  .map((x) => Float32Array.from(x));

const closeTo = (found: Float32Array, expected: ArrayLike<number>, tolerance: number) =>
  found.forEach((x, i) => assert.ok(Math.abs(x - expected[i]) <= tolerance, `${i}: ${x}`));

Deno.test("actions survive the way to pi's convention and back, in both directions", () => {
  fc.assert(
    fc.property(rows, (actions) => {
      closeTo(actionsFromPi(actionsToPi(actions)), actions, 2e-6);
      closeTo(actionsToPi(actionsFromPi(actions)), actions, 2e-6);
    }),
    { numRuns: 50 },
  );
});

Deno.test("shoulder and elbow change sign in both arms, the other joints do not", () => {
  const ones = new Float32Array(14).fill(1);
  for (const convert of [stateToPi, actionsFromPi, actionsToPi]) {
    const found = convert(ones);
    for (const arm of [0, 7]) {
      assert.deepEqual([...found.slice(arm, arm + 6)], [1, -1, -1, 1, 1, 1]);
    }
  }
});

Deno.test("stateToPi() opens the gripper when the fingers open", () => {
  const gripperAt = (opening: number) => {
    const state = new Float32Array(14);
    state[6] = state[13] = opening;
    const found = stateToPi(state);
    assert.equal(found[6], found[13]);
    return found[6];
  };
  const path = [0, 0.25, 0.5, 0.75, 1].map(gripperAt);
  path.forEach((x, i) => assert.ok(i === 0 || x > path[i - 1]));
  closeTo(Float32Array.of(path[0], path[4]), [-1.0799, 0.9457], 1e-4);
});

Deno.test("numbers that are not rows of 14 are refused", () => {
  for (const convert of [stateToPi, actionsFromPi, actionsToPi]) {
    assert.throws(() => convert(new Float32Array(13)), {
      name: "RangeError",
      message: "Cannot convert between ALOHA's and pi's convention: 13 numbers are not rows of 14",
    });
  }
});

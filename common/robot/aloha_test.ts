import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ACTION_RANGES,
  ALOHA_DIM,
  armOffset,
  checkAction,
  clipAction,
  CONTROL_PERIOD_MS,
  JOINT_RANGES_RAD,
  RESET_POSE_RAD,
  resetState,
  SLEEP_POSE_RAD,
  STATE_NAMES,
} from "./aloha.ts";

Deno.test("STATE_NAMES lists 14 numbers, the left arm first and its gripper seventh", () => {
  assert.equal(STATE_NAMES.length, ALOHA_DIM);
  assert.equal(ACTION_RANGES.length, ALOHA_DIM);
  assert.equal(STATE_NAMES[0], "left_waist");
  assert.equal(STATE_NAMES[6], "left_gripper");
  assert.equal(STATE_NAMES[armOffset("right")], "right_waist");
  assert.equal(STATE_NAMES[13], "right_gripper");
  assert.equal(CONTROL_PERIOD_MS, 20);
});

Deno.test("the reset and sleep poses lie within the joint ranges", () => {
  for (const pose of [RESET_POSE_RAD, SLEEP_POSE_RAD]) {
    pose.forEach((angle, j) => {
      assert.ok(angle >= JOINT_RANGES_RAD[j].min && angle <= JOINT_RANGES_RAD[j].max);
    });
  }
});

Deno.test("resetState() repeats the reset pose for both arms", () => {
  const state = resetState(1);
  assert.deepEqual([...state.subarray(0, 7)], [...state.subarray(7)]);
  assert.equal(state[6], 1);
  assert.equal(state[1], Math.fround(-0.96));
});

Deno.test("clipAction() moves every number into its range and counts those that moved", () => {
  const action = fc.array(fc.double({ min: -10, max: 10, noNaN: true }), {
    minLength: ALOHA_DIM,
    maxLength: ALOHA_DIM,
  });
  fc.assert(
    fc.property(action, (numbers) => {
      const out = new Float64Array(ALOHA_DIM);
      const clips = clipAction(numbers, out);
      const isInside = (x: number, i: number) =>
        x >= ACTION_RANGES[i].min && x <= ACTION_RANGES[i].max;
      assert.ok(out.every(isInside));
      assert.equal(clips, numbers.filter((x, i) => Math.abs(x - out[i]) > 1e-6).length);
    }),
    { numRuns: 100 },
  );
});

Deno.test("clipAction() does not count a limit that float32 rounded outwards", () => {
  const limits = Float32Array.from(ACTION_RANGES, (range) => range.max);
  assert.equal(clipAction(limits, new Float64Array(ALOHA_DIM)), 0);
});

Deno.test("checkAction() names the wrong length, or the joint that is not a number", () => {
  assert.throws(() => checkAction(new Float32Array(13)), {
    name: "RangeError",
    message: /13 numbers, expected 14/,
  });
  const action = resetState();
  action[9] = NaN;
  assert.throws(() => checkAction(action), { name: "RangeError", message: /right_elbow is NaN/ });
  action[9] = Infinity;
  assert.throws(() => checkAction(action), RangeError);
  checkAction(resetState());
  checkAction(new Float32Array(7), 7);
});

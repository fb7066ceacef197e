import assert from "node:assert/strict";
import { HOLD_REASONS, MOTION_STATUS } from "./motion_memory.ts";
import { describeHold, readMotionStatus } from "./motion_status.ts";

function values(hold: number, culprit = -1, measured = 0, allowed = 0): Float64Array {
  const status = new Float64Array(MOTION_STATUS.length);
  status[MOTION_STATUS.hold] = hold;
  status[MOTION_STATUS.culprit] = culprit;
  status[MOTION_STATUS.measured] = measured;
  status[MOTION_STATUS.allowed] = allowed;
  return status;
}

Deno.test("readMotionStatus() names the hold and who is to blame", () => {
  const silent = readMotionStatus(values(HOLD_REASONS.indexOf("arm silent"), 1, 140, 100));
  assert.deepEqual(silent.blame, { culprit: "right", measured: 140, allowed: 100 });
  const hot = readMotionStatus(values(HOLD_REASONS.indexOf("over-current"), 9, 2500.4, 2200));
  assert.equal(hot.blame?.culprit, "right_elbow");
  assert.equal(
    describeHold(hot),
    "right_elbow draws 2500 mA for more than 0.5 s, its limit is 2200 mA",
  );
});

Deno.test("readMotionStatus() is a copy, and refuses a hold that there is not", () => {
  const numbers = values(0);
  const status = readMotionStatus(numbers);
  numbers.fill(1);
  assert.ok(status.command.every((value) => value === 0));
  for (const hold of [HOLD_REASONS.length, -1, 0.5, NaN]) {
    assert.throws(() => readMotionStatus(values(hold)), {
      name: "RangeError",
      message: /status: hold is .*, expected an index below 9/,
    });
  }
});

Deno.test("describeHold() has words for every reason", () => {
  const words = HOLD_REASONS.map((_, hold) => describeHold(readMotionStatus(values(hold))));
  assert.equal(new Set(words).size, HOLD_REASONS.length);
  for (const text of words) assert.match(text, /^[a-z].*[a-z]$/);
});

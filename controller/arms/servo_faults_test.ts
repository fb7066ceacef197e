import assert from "node:assert/strict";
import { HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import { describeFault, faultSentence, servoFaults, servoLabel } from "./servo_faults.ts";

Deno.test("servoFaults() names every bit of the e-manual, and only those", () => {
  assert.deepEqual(servoFaults(0), []);
  assert.deepEqual(servoFaults(0b110101), [
    "inputVoltage",
    "overheating",
    "electricalShock",
    "overload",
  ]);
  assert.deepEqual(servoFaults(0xff), Object.keys(HARDWARE_ERROR));
  assert.deepEqual(servoFaults(0b11000010), [], "unused bits");
});

Deno.test("faultSentence() names arm, joint and servo, the fault and what to do", () => {
  assert.equal(
    faultSentence("left", 4, HARDWARE_ERROR.overload),
    "left_elbow (servo 4): overload; free the joint of what blocks or loads it, support the arm, " +
      "recover the servo",
  );
  assert.match(
    faultSentence(null, 3, 0x04),
    /^shoulder_shadow \(servo 3\): overheating; let .* cool/,
  );
  assert.match(
    describeFault(0x11),
    /^input voltage out of range, electrical shock .*; check .*cables/,
  );
  assert.match(describeFault(0x80), /unknown bits 0x80; support the arm/);
});

Deno.test("servoLabel() refuses servos that an arm has not", () => {
  assert.equal(servoLabel("right", 9), "right_gripper (servo 9)");
  for (const id of [0, 10, 1.5, NaN]) {
    assert.throws(() => servoLabel("right", id), /Cannot find servo .*: an arm has servos 1 to 9/);
  }
});

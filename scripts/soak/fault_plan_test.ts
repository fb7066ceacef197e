import assert from "node:assert/strict";
import { seededRandom } from "../../common/random.ts";
import {
  describePlannedFault,
  FAULT_KINDS,
  healsByItself,
  namesFault,
  planFaults,
  type PlannedFault,
} from "./fault_plan.ts";

const PAUSES = { minS: 10, maxS: 30 };

function take(count: number, seed: number): PlannedFault[] {
  return planFaults(seededRandom(seed), PAUSES).take(count).toArray();
}

function faultOf(kind: PlannedFault["kind"], more: Partial<PlannedFault> = {}): PlannedFault {
  return { kind, afterMs: 0, arm: "left", servo: 4, camera: "cam_high", lastsMs: 300, ...more };
}

Deno.test("planFaults() draws every kind before any comes again, and all from its seed", () => {
  const drawn = take(3 * FAULT_KINDS.length, 5);
  for (let round = 0; round < 3; round++) {
    const kinds = drawn.slice(round * FAULT_KINDS.length, (round + 1) * FAULT_KINDS.length)
      .map(({ kind }) => kind);
    assert.deepEqual(new Set(kinds), new Set(FAULT_KINDS));
  }
  assert.deepEqual(take(20, 5), take(20, 5));
  assert.notDeepEqual(take(20, 5), take(20, 6));
});

Deno.test("planFaults() keeps pauses and durations within their bounds", () => {
  for (const { kind, afterMs, servo, lastsMs } of take(300, 1)) {
    assert.ok(afterMs >= 10_000 && afterMs < 30_000);
    assert.ok(servo >= 1 && servo <= 9);
    if (kind === "servo vanishes") assert.ok(lastsMs >= 300 && lastsMs <= 3_000);
    if (kind === "bus unplugged") assert.ok(lastsMs >= 500 && lastsMs <= 5_000);
  }
});

Deno.test("namesFault() wants the servo and the arm", () => {
  const fault = faultOf("servo vanishes");
  for (
    const line of [
      "No answer from servo 4 of the left arm",
      "No answer from servos 2, 4, 9 of the left arm",
      "Cannot read from servo 4 on /tmp/arms/left: no answer; trying again until it answers",
      "left_elbow (servo 4) has let go",
    ]
  ) assert.ok(namesFault(fault, line), line);
  for (
    const line of [
      "No answer from servo 4 of the right arm",
      "No answer from servos 2, 14 of the left arm",
      "right_elbow (servo 4) has let go",
      "A servo has let go",
    ]
  ) assert.ok(!namesFault(fault, line), line);
});

Deno.test("namesFault() wants what is wrong with a servo, which camera, which bus", () => {
  const overload = faultOf("overload");
  assert.ok(namesFault(overload, "FAULT: left_elbow (servo 4): overload; free the joint"));
  assert.ok(!namesFault(overload, "FAULT: left_elbow (servo 4): overheating; let it cool"));
  assert.ok(namesFault(faultOf("camera dies"), "Camera cam_high (x) has failed: SIGKILL"));
  assert.ok(!namesFault(faultOf("camera dies"), "Camera cam_left_wrist (x) has failed"));
  assert.ok(namesFault(faultOf("bus unplugged"), "The left arm is lost: the device is gone"));
  assert.ok(namesFault(faultOf("emergency stop"), "EMERGENCY STOP by HTTP: asked for; hold"));
});

Deno.test("describePlannedFault() and healsByItself() know every kind", () => {
  for (const kind of FAULT_KINDS) assert.ok(describePlannedFault(faultOf(kind)).startsWith(kind));
  assert.equal(
    describePlannedFault(faultOf("servo vanishes")),
    "servo vanishes: left_elbow (servo 4), 0.3 s",
  );
  assert.deepEqual(FAULT_KINDS.filter((kind) => !healsByItself({ kind })), [
    "overload",
    "overheating",
    "emergency stop",
  ]);
});

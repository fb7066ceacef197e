import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { replayPlan } from "./replay_plan.ts";
import { type TestCycle, testLog } from "./testing.ts";

/** The reset pose with the left waist at x. */
function at(x: number): Float32Array {
  const pose = resetState(0.5);
  pose[0] = x;
  return pose;
}

/** The left waist's targets. */
function waistOf(targets: Float32Array): number[] {
  return Array.from({ length: targets.length / ALOHA_DIM }, (_, i) => targets[i * ALOHA_DIM]);
}

const rounded = (values: readonly number[]) => values.map((x) => Math.round(x * 1e5) / 1e5);

Deno.test("replayPlan() stretches a motion to a quarter of its speed", () => {
  const log = testLog([0, 0.1, 0.2, 0.1].map((x, step) => ({ step, command: at(x) })));
  const plan = replayPlan(log);
  assert.equal(plan.steps, 13);
  assert.deepEqual(rounded(waistOf(plan.targets)), [
    ...[0, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.175, 0.2],
    ...[0.175, 0.15, 0.125, 0.1],
  ]);
  assert.deepEqual(plan.start, at(0));
  assert.deepEqual([plan.joins, plan.removedCycles], [0, 0]);
  assert.deepEqual(rounded(waistOf(replayPlan(log, { speed: 1 }).targets)), [0, 0.1, 0.2, 0.1]);
});

Deno.test("replayPlan() leaves holds and lost time out, and joins what they leave apart", () => {
  const cycles: TestCycle[] = [
    { step: 0, planId: 0, hold: "not started", command: at(3) },
    { step: 1, command: at(0) },
    { step: 2, command: at(0.01) },
    ...Array.from({ length: 50 }, (_, i): TestCycle => ({
      step: 3 + i,
      planId: 0,
      hold: "no plan",
      command: at(0.01),
    })),
    { step: 53, command: at(0.02) },
    // Half a second is missing, in which the arm moved 0.1 rad.
    { step: 80, command: at(0.12) },
    { step: 81, command: at(0.13) },
    // The arm was moved by hand, and the motion begins anew where it is.
    { step: 82, command: at(0.22), isRestart: true },
  ];
  const plan = replayPlan(testLog(cycles), { speed: 1 });
  assert.deepEqual([plan.joins, plan.removedCycles], [2, 51]);
  // 0.1 rad at 0.4 rad/s is a quarter of a second; 0.09 rad is a little less.
  assert.equal(plan.steps, Math.ceil((3 * 20 + 250 + 225) / 20) + 1);
  const waist = waistOf(plan.targets);
  for (let i = 1; i < waist.length; i++) assert.ok(waist[i] - waist[i - 1] <= 0.0101);
  assert.ok(Math.abs(waist[waist.length - 1] - 0.22) < 1e-6);
});

Deno.test("replayPlan() stays within the log's own range and never moves faster than it", () => {
  const step = fc.double({ min: -0.02, max: 0.02, noNaN: true });
  const speed = fc.double({ min: 0.05, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(step, { minLength: 3, maxLength: 40 }), speed, (steps, speed) => {
      let x = 0;
      const positions = steps.map((dx) => (x += dx));
      fc.pre(new Set(positions.map((x) => Math.fround(x))).size > 1);
      const log = testLog(positions.map((x, step) => ({ step, command: at(x) })));
      fc.pre(positions.some((x, i) => i > 0 && Math.abs(x - positions[i - 1]) > 1e-5));
      const waist = waistOf(replayPlan(log, { speed }).targets);
      const low = Math.min(...positions) - 1e-6, high = Math.max(...positions) + 1e-6;
      assert.ok(waist.every((x) => x >= low && x <= high));
      for (let i = 1; i < waist.length; i++) {
        assert.ok(Math.abs(waist[i] - waist[i - 1]) <= 0.02 * speed + 2e-6);
      }
      assert.ok(Math.abs(waist[waist.length - 1] - positions[positions.length - 1]) < 3e-6);
    }),
    { numRuns: 60 },
  );
});

Deno.test("replayPlan() refuses what arms must not do", () => {
  const moving = (x: number) => testLog([{ step: 0, command: at(0) }, { step: 1, command: at(x) }]);
  const { positionMax } = DEFAULT_LIMITS.arms.left.waist;
  assert.throws(() => replayPlan(moving(positionMax + 0.05)), {
    name: "RangeError",
    message: /^Cannot replay: left_waist of cycle 1 is [\d.]+, expected a number in \[/,
  });
  assert.throws(() => replayPlan(moving(NaN)), /left_waist of cycle 1 is NaN/);
  assert.throws(() => replayPlan(moving(0)), /nothing moves in the 2 cycles of the log/);
  for (const speed of [0, 0.04, 1.01, NaN]) {
    assert.throws(
      () => replayPlan(moving(1), { speed }),
      /Cannot replay at speed .*expected 0.05–1/,
    );
  }
  // Neither a limit that float32 rounds outwards nor where arms begin to hold is a fault.
  for (const max of [Math.fround(positionMax), positionMax + 0.04]) {
    const { targets } = replayPlan(moving(max), { speed: 1 });
    assert.ok(targets[ALOHA_DIM] <= positionMax + 1e-6);
  }
});

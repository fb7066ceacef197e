import assert from "node:assert/strict";
import { ARM_DIM, resetState } from "../../common/robot/aloha.ts";
import { JerkMeter, jerkReport } from "./jerk.ts";
import { type TestCycle, testLog, testRecord } from "./testing.ts";

/** A pose whose left waist is at x, and whose left gripper is too. */
function at(x: number): Float64Array {
  const pose = Float64Array.from(resetState(0.5));
  pose[0] = x;
  pose[ARM_DIM - 1] = x;
  return pose;
}

/** Chunks of 10 steps that follow each other at once. */
function cyclesOf(
  positions: readonly number[],
  plan = (step: number) => 1 + Math.floor(step / 10),
) {
  return positions.map((x, step): TestCycle => ({ step, command: at(x), planId: plan(step) }));
}

const near = (found: number, expected: number, tolerance = 1e-3) =>
  assert.ok(
    Math.abs(found - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${found}, expected ${expected}`,
  );

Deno.test("jerkReport() gives the third derivative of a cubic, over the joints alone", () => {
  // x = t³ has jerk 6 rad/s³; of 12 revolute joints one moves.
  const report = jerkReport(testLog(cyclesOf(Array.from({ length: 30 }, (_, i) => (i / 50) ** 3))));
  near(report.elsewhere.mean, 6 / Math.sqrt(12), 0.05);
  near(report.nearBoundary.max, 6 / Math.sqrt(12), 0.1);
  assert.deepEqual([report.boundaries, report.lateChunks], [2, 0]);
  // The first three cycles have no third difference; 7 steps lie around each boundary.
  assert.deepEqual([report.nearBoundary.cycles, report.elsewhere.cycles], [14, 13]);
});

Deno.test("jerkReport() finds a kink at a boundary, and how far the target jumped", () => {
  const kinked = Array.from({ length: 30 }, (_, i) => i < 10 ? 0.01 * i : 0.09 - 0.01 * (i - 9));
  const cycles = cyclesOf(kinked).map((cycle) => ({
    ...cycle,
    wanted: at(cycle.step < 10 ? 0 : 0.25),
  }));
  const report = jerkReport(testLog(cycles));
  near(report.maxVelocityJumpRadS, 0.02 * 50);
  near(report.maxTargetJumpRad, 0.25);
  near(report.nearBoundary.max, 0.02 * 50 ** 3 / Math.sqrt(12));
  assert.ok(report.elsewhere.max < 0.5, `${report.elsewhere.max}`);
});

Deno.test("JerkMeter takes a hold for want of a plan as a late chunk; other holds begin anew", () => {
  const plans = (hold: "no plan" | "ordered") =>
    Array.from({ length: 40 }, (_, step): TestCycle => {
      const isHeld = step >= 15 && step < 25;
      return { step, planId: isHeld ? 0 : step < 15 ? 1 : 2, hold: isHeld ? hold : "none" };
    });
  const late = jerkReport(testLog(plans("no plan")));
  assert.deepEqual([late.boundaries, late.lateChunks], [1, 1]);
  assert.equal(late.nearBoundary.cycles, 14);
  assert.equal(late.nearBoundary.cycles + late.elsewhere.cycles, 37);
  const ordered = jerkReport(testLog(plans("ordered")));
  assert.deepEqual([ordered.boundaries, ordered.nearBoundary.cycles], [0, 0]);
  assert.equal(ordered.elsewhere.cycles, 27);
  // A chunk that no other one follows is not late.
  assert.equal(jerkReport(testLog(plans("no plan").slice(0, 25))).lateChunks, 0);
});

Deno.test("JerkMeter never takes a difference across a gap, a restart or a command of no number", () => {
  const steps = Array.from({ length: 20 }, (_, i) => i);
  const jumping = (cycle: (step: number) => Partial<TestCycle>) =>
    jerkReport(testLog(steps.map((step) => ({
      step,
      command: at(step < 10 ? 0 : 1),
      ...cycle(step),
    }))));
  const gap = jumping((step) => ({ timeMs: 20 * step + (step < 10 ? 0 : 20) }));
  const restart = jumping((step) => step === 9 ? { planId: 0, hold: "not started" } : {});
  const anew = jumping((step) => ({ isRestart: step === 10 }));
  const noNumber = jumping((step) => step === 9 ? { command: at(NaN) } : {});
  for (const report of [gap, restart, anew, noNumber]) {
    assert.equal(report.elsewhere.max, 0);
    assert.ok(report.elsewhere.cycles >= 13);
  }
});

Deno.test("JerkMeter at 200 Hz counts three control steps of four cycles around a boundary", () => {
  const meter = new JerkMeter(200);
  for (let cycle = 0; cycle < 160; cycle++) {
    const step = Math.floor(cycle / 4);
    meter.add(testRecord({ step, timeMs: 5 * cycle, planId: step < 20 ? 1 : 2 }));
  }
  const { nearBoundary, elsewhere } = meter.report();
  assert.deepEqual([nearBoundary.cycles, elsewhere.cycles], [28, 129]);
  assert.deepEqual(meter.report(), meter.report());
});

Deno.test("JerkMeter without cycles reports zeros; it refuses a rate of 0", () => {
  const { boundaries, elsewhere } = new JerkMeter(50).report();
  assert.deepEqual([boundaries, elsewhere], [0, { cycles: 0, mean: 0, max: 0 }]);
  assert.throws(() => new JerkMeter(0), /Cannot measure jerk at 0 Hz: the rate must be above 0/);
});

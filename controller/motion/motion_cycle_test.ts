import assert from "node:assert/strict";
import { resetState } from "../../common/robot/aloha.ts";
import { commandToTicks } from "../arms/units.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOTION_RECORD } from "./motion_memory.ts";
import { motionSchedule } from "./motion_cycle.ts";
import { MotionRig, RIG_EPOCH_MS, type RigRecord, waistRows } from "./testing.ts";

/** Half a tick: what rounding a measured pose may change. */
const HALF_TICK = Math.PI / 4096 + 1e-9;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
/** A gentle start: at most 0.6 rad/s and 1.8 rad/s². */
const gentle = (n: number) => waistRows(range(n).map((i) => 0.1 * (1 - Math.cos(0.06 * (i + 1)))));

function field(record: RigRecord, name: "step" | "planId" | "planIndex" | "hold" | "isStepEnd") {
  return record.values[MOTION_RECORD[name]];
}

Deno.test("MotionCycle.run() writes nothing before the first restart", () => {
  const rig = new MotionRig();
  rig.plan(gentle(20));
  const { values, command } = rig.run(10);
  assert.equal(rig.arms.setpoints, 0);
  assert.equal(rig.status.hold, "not started");
  assert.equal(values[MOTION_RECORD.hold], 1);
  assert.ok(command.every(Number.isNaN));
  assert.ok(rig.status.command.every(Number.isNaN));
  assert.equal(rig.status.isStill, true);
  assert.equal(rig.records.length, 10);
});

Deno.test("MotionCycle.run() begins at a restart with the measured pose, at rest, without a plan", () => {
  const rig = new MotionRig();
  rig.plan(gentle(20));
  rig.run(3);
  rig.start();
  assert.equal(rig.status.restarts, 1);
  const restarts = () => rig.records.map(({ values }) => values[MOTION_RECORD.isRestart]);
  assert.deepEqual(restarts(), [0, 0, 0, 1]);
  assert.equal(rig.status.hold, "no plan");
  assert.equal(rig.status.planId, 0);
  assert.equal(rig.arms.setpoints, 1);
  for (const arm of [0, 1] as const) {
    assert.deepEqual([...rig.arms.setpoint(arm)!.subarray(1)], [...rig.arms.ticks[arm]]);
  }
  const { command } = rig.last;
  resetState().forEach((value, i) => assert.ok(Math.abs(command[i] - value) <= HALF_TICK));
  // And it stands there.
  const ticks = rig.arms.setpoint(0)!.subarray(1);
  rig.run(50);
  assert.equal(restarts().lastIndexOf(1), 3);
  assert.deepEqual(rig.arms.setpoint(0)!.subarray(1), ticks);
  assert.equal(rig.status.isStill, true);
});

Deno.test("MotionCycle.run() begins at goals that servos hold, so that a hanging arm does not sink", () => {
  const rig = new MotionRig().start();
  rig.arms.isFollowing = false;
  const goals = resetState();
  goals[1] -= 0.08; // hangs below its goal
  goals[2] = NaN; // not known
  goals[3] += 0.5; // no goal that it could be holding
  rig.orderRestart(goals);
  rig.run(2);
  const { command } = rig.last;
  const expected = [...resetState()];
  expected[1] -= 0.08;
  expected.forEach((value, i) => assert.ok(Math.abs(command[i] - value) <= HALF_TICK, `${i}`));
  assert.equal(rig.status.isStill, true);
});

Deno.test("MotionCycle.run() executes a plan step by step, then holds its end", () => {
  const rig = new MotionRig().start();
  const rows = gentle(30);
  const id = rig.plan(rows);
  rig.run(30);
  const executed = rig.records.filter((record) => field(record, "planId") === id);
  assert.deepEqual(executed.map((record) => field(record, "planIndex")), range(30));
  assert.deepEqual(executed.map((record) => field(record, "hold")), range(30).map(() => 0));
  executed.forEach((record, i) => assert.deepEqual(record.wanted, rows[i]));
  assert.equal(rig.status.stepsLeft, 0);
  const { command, values } = rig.run(40);
  assert.equal(rig.status.hold, "no plan");
  assert.equal(values[MOTION_RECORD.planIndex], -1);
  assert.ok(Math.abs(command[0] - rows[29][0]) < 0.05);
  assert.equal(rig.status.isStill, true);
});

Deno.test("MotionCycle.run() follows a gentle plan without clamps, to the tick", () => {
  const rig = new MotionRig().start();
  const rows = gentle(60);
  rig.plan(rows);
  rig.run(60);
  const ticks = new Float64Array(7);
  commandToTicks(rows[59], "left", ticks);
  assert.ok(Math.abs(rig.arms.setpoint(0)![1] - ticks[0]) <= 1);
  assert.ok(Math.abs(rig.last.command[0] - rows[59][0]) < 1e-3);
});

Deno.test("MotionCycle.run() starts a plan that is seen late in its middle", () => {
  const rig = new MotionRig().start();
  rig.run(20);
  const step = rig.status.step;
  const rows = gentle(30);
  rig.plan(rows, step - 9);
  const { values, wanted } = rig.run(1);
  assert.equal(values[MOTION_RECORD.step], step + 1);
  assert.equal(values[MOTION_RECORD.planIndex], 10);
  assert.deepEqual(wanted, rows[10]);
  assert.equal(rig.status.planFirstStep, step - 9);
  assert.equal(rig.status.stepsLeft, 19);
});

Deno.test("MotionCycle.run() holds for a plan that has passed altogether, or has not begun", () => {
  const rig = new MotionRig().start();
  rig.run(50);
  rig.plan(gentle(10), 5);
  rig.run(1);
  assert.equal(rig.status.hold, "no plan");
  const step = rig.status.step;
  const id = rig.plan(gentle(10), step + 4);
  rig.run(3);
  assert.equal(rig.status.hold, "no plan");
  assert.deepEqual([rig.status.planId, rig.status.stepsLeft], [id, 10]);
  rig.run(1);
  assert.equal(rig.status.hold, "none");
  assert.equal(field(rig.last, "planIndex"), 0);
});

Deno.test("MotionCycle.run() goes on with the old plan until the new one begins", () => {
  const rig = new MotionRig().start();
  const rows = gentle(60);
  const first = rig.plan(rows);
  rig.run(20);
  const { step } = rig.status;
  // A continuation of the same motion, cut at other steps.
  const second = rig.plan(rows.slice(25), step + 6);
  rig.run(20);
  const ids = rig.records.slice(-20).map((record) => field(record, "planId"));
  assert.deepEqual(ids, [...range(5).map(() => first), ...range(15).map(() => second)]);
  const wanted = rig.records.slice(-40).map((record) => record.wanted[0]);
  assert.deepEqual(wanted, rows.slice(0, 40).map((row) => row[0]));
  assert.ok(rig.records.every((record) => record.values[MOTION_RECORD.clamps] === 0));
});

Deno.test("MotionCycle.run() lets the newest of several plans count", () => {
  const rig = new MotionRig().start();
  rig.plan(gentle(60));
  rig.run(5);
  const { step } = rig.status;
  rig.plan(waistRows(range(20).map(() => 1)), step + 3);
  rig.run(1);
  const newest = rig.plan(gentle(60).slice(6), step + 2);
  rig.run(10);
  const ids = rig.records.slice(-10).map((record) => field(record, "planId"));
  assert.deepEqual(ids, range(10).map(() => newest));
  assert.ok(rig.records.every((record) => record.wanted[0] !== 1));
});

Deno.test("MotionCycle.run() interpolates in 4 cycles a step at 200 Hz", () => {
  const rig = new MotionRig({ rateHz: 200 }).start();
  rig.run(11);
  const targets = [0.002, 0.006, 0.004];
  rig.plan(waistRows(targets));
  while (rig.status.hold !== "none") rig.run(1);
  rig.run(11);
  const cycles = rig.records.slice(-12);
  const start = rig.records.at(-13)!.command[0];
  const line = [start, ...targets].slice(0, 3)
    .flatMap((from, k) => [1, 2, 3, 4].map((n) => from + (targets[k] - from) * n / 4));
  cycles.forEach((record, n) => {
    assert.ok(Math.abs(record.wanted[0] - line[n]) < 1e-12, `cycle ${n}`);
    assert.equal(field(record, "planIndex"), Math.floor(n / 4));
    assert.equal(field(record, "isStepEnd"), n % 4 === 3 ? 1 : 0);
  });
  assert.equal(field(cycles[11], "step") - field(cycles[0], "step"), 2);
});

Deno.test("MotionCycle.run() replaces a plan in the middle of a step at 200 Hz without a jump", () => {
  const rig = new MotionRig({ rateHz: 200 }).start();
  while (rig.status.step < 2) rig.run(1);
  const rows = gentle(60);
  rig.plan(rows, 3);
  while (rig.status.step < 12) rig.run(1);
  rig.run(1);
  // Seen in the third cycle of step 12; step 12 belongs to its middle.
  rig.plan(rows.slice(4).map((row) => row.map((value, i) => i === 0 ? value + 0.004 : value)), 7);
  rig.run(30);
  const path = rig.records.slice(-36).map((record) => record.wanted[0]);
  for (let n = 1; n < path.length; n++) {
    const change = path[n] - path[n - 1];
    assert.ok(change > 0 && change < 0.6 * 0.005 + 0.0021, `cycle ${n}: ${change} rad`);
  }
});

Deno.test("MotionCycle.run() skips late cycles, counts them, and does none twice", () => {
  const rig = new MotionRig().start();
  rig.plan(gentle(60));
  rig.run(10);
  const { step, cycles, missed } = rig.status;
  assert.equal(rig.runAt(rig.cycle.nextMs - 0.5), false);
  assert.equal(rig.runAt(rig.cycle.nextMs + 45), true);
  assert.equal(rig.runAt(rig.nowMs + 1), false);
  assert.deepEqual(
    [rig.status.step, rig.status.cycles, rig.status.missed],
    [step + 3, cycles + 1, missed + 2],
  );
  assert.equal(field(rig.last, "planIndex"), 12);
  rig.run(1);
  assert.equal(rig.status.step, step + 4);
});

Deno.test("MotionCycle.run() moves by one period's way at most after skipped cycles", () => {
  const rig = new MotionRig({ rateHz: 200 }).start();
  rig.plan(waistRows(range(200).map(() => 1)));
  rig.run(80);
  const before = rig.last.command[0];
  rig.runAt(rig.cycle.nextMs + 62);
  const { velocity } = DEFAULT_LIMITS.arms.left.waist;
  assert.ok(rig.last.command[0] - before <= velocity * 0.005 + 1e-12);
  assert.ok(rig.last.command[0] - before > 0);
});

Deno.test("MotionCycle.run() numbers control steps from 0, on the epoch's 20 ms", () => {
  const rig = new MotionRig({ rateHz: 100 });
  rig.run(8);
  const steps = rig.records.map((record) => field(record, "step"));
  // The clock stands 1 ms after the epoch: its first deadline is in the middle of a step.
  assert.deepEqual(steps, [0, 1, 1, 2, 2, 3, 3, 4]);
  const ends = rig.records.map((record) => field(record, "isStepEnd"));
  assert.deepEqual(ends, [1, 0, 1, 0, 1, 0, 1, 0]);
});

Deno.test("MotionCycle.run() holds on a NaN in a plan, counts it, and goes on after it", () => {
  for (const rateHz of [50, 200]) {
    const rig = new MotionRig({ rateHz }).start();
    const rows = gentle(40);
    rows[20][9] = NaN;
    rows[21][0] = Infinity;
    rig.plan(rows);
    rig.run(rateHz * 41 / 50);
    const refused = rig.records.filter((record) => record.values[MOTION_RECORD.refusal] === 1);
    assert.equal(refused.length, 2 * rateHz / 50);
    for (const { command } of rig.records) assert.ok(command.every(Number.isFinite));
    for (const { wanted } of rig.records.slice(-4)) assert.ok(wanted.every(Number.isFinite));
    assert.ok(Math.abs(rig.last.command[0] - rows[39][0]) < 0.02);
    assert.equal(refused[0].values[MOTION_RECORD.clamps + 9], 1);
  }
});

Deno.test("MotionCycle.run() marks what the workspace refuses, and does not leave it", () => {
  const rig = new MotionRig().start();
  const row = Float64Array.from(resetState());
  row[1] = 1.2;
  rig.plan(range(100).map(() => row));
  const { values } = rig.run(100);
  assert.equal(values[MOTION_RECORD.refusal], 2);
  assert.equal(rig.status.hold, "none");
  assert.ok(rig.last.command[1] < 0.9);
});

Deno.test("MotionCycle.run() fills records and status completely", () => {
  const rig = new MotionRig({ rateHz: 200 }).start();
  rig.plan(gentle(60));
  rig.run(200);
  rig.records.forEach((record, n) => {
    const { values } = record;
    assert.ok(values.every(Number.isFinite), `record ${n}`);
    assert.equal(values[MOTION_RECORD.stateAgeMs], 3);
    if (n > 0) assert.equal(values[0] - rig.records[n - 1].values[0], 5);
  });
  const { status } = rig;
  assert.equal(status.cycles, 201);
  assert.equal(status.droppedRecords, 0);
  assert.deepEqual([...status.command], [...rig.last.command]);
  // Perfect arms: what is measured is the setpoint of the cycle before, in ticks.
  const measured = rig.last.values[MOTION_RECORD.measured];
  assert.ok(Math.abs(measured - rig.records.at(-2)!.command[0]) <= HALF_TICK);
});

Deno.test("MotionCycle drops records that nobody takes, and counts them", () => {
  const rig = new MotionRig().start();
  for (let n = 0; n < 2100; n++) {
    rig.arms.answer(rig.cycle.nextMs);
    rig.cycle.run(rig.cycle.nextMs);
  }
  assert.equal(rig.status.droppedRecords, 2100 - 2048);
});

Deno.test("motionSchedule() goes ahead of the buses by 2 ms, or a fifth of a short period", () => {
  assert.deepEqual(motionSchedule(50, RIG_EPOCH_MS), {
    epochMs: RIG_EPOCH_MS,
    periodMs: 20,
    phaseMs: -2,
  });
  assert.equal(motionSchedule(200, 0).phaseMs, -1);
  for (const rateHz of [0, -50, 60, 250, NaN, 25]) {
    assert.throws(
      () => motionSchedule(rateHz, 0),
      /Cannot move arms at .* Hz: expected a multiple/,
    );
  }
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { CURRENT_UNIT_MA } from "../dynamixel/control_table.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MAX_OFF_TRACK_RAD } from "./arm_watch.ts";
import type { HoldReason } from "./motion_memory.ts";
import { describeHold } from "./motion_status.ts";
import { ALL_ANSWERED, MotionRig, type RigRecord, waistRows } from "./testing.ts";

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
/** The waist at 0.6 rad/s, for so many steps. */
const sweep = (n: number) => waistRows(range(n).map((i) => 0.012 * (i + 1)));
const OVER_LIMIT = DEFAULT_LIMITS.arms.left.waist.currentMa / CURRENT_UNIT_MA + 1;

/** A rig whose waist moves at 0.6 rad/s, with a plan for 10 s. */
function moving(options: ConstructorParameters<typeof MotionRig>[0] = {}): MotionRig {
  const rig = new MotionRig(options).start();
  rig.plan(sweep(120).concat(waistRows(range(380).map(() => 1.44))));
  rig.run((options.rateHz ?? 50) / 2);
  assert.equal(rig.status.hold, "none");
  assert.equal(rig.status.isStill, false);
  return rig;
}

/** That from a record on every joint brakes within v²/2a, does not turn round, and then stands. */
function assertBraked(records: readonly RigRecord[], from: number, periodS: number): void {
  const start = records[from].command, before = records[from - 1].command;
  for (let i = 0; i < ALOHA_DIM; i++) {
    const speed = (start[i] - before[i]) / periodS;
    const names = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"];
    const { acceleration } = DEFAULT_LIMITS.arms.left[(names[i % 7] ?? "gripper") as "waist"];
    for (let n = from + 1; n < records.length; n++) {
      const change = records[n].command[i] - records[n - 1].command[i];
      assert.ok(change * Math.sign(speed) >= 0, `number ${i} turned round`);
      const way = Math.abs(records[n].command[i] - start[i]);
      assert.ok(way <= speed * speed / (2 * acceleration) + 1e-9, `number ${i} went ${way}`);
    }
    assert.equal(records.at(-1)!.command[i], records.at(-2)!.command[i], `number ${i} stands`);
  }
}

Deno.test("A hold brakes within v²/2a and turns no joint round, from any motion at any rate", () => {
  const rates = fc.constantFrom(50, 100, 200);
  const holds = fc.constantFrom("ordered", "no plan", "arm silent", "main thread silent");
  fc.assert(
    fc.property(fc.integer(), rates, holds, fc.integer({ min: 2, max: 40 }), (...drawn) => {
      const [seed, rateHz, hold, steps] = drawn;
      const rig = new MotionRig({ rateHz }).start();
      const random = seededRandom(seed);
      const target = Float64Array.from(resetState(0.5));
      // Steps far beyond the limits now and then: every joint is clamped somehow.
      rig.plan(
        range(hold === "no plan" ? steps : 500).map((n) => {
          if (n % 8 === 0) {
            for (let i = 0; i < ALOHA_DIM; i++) target[i] += uniform(random, -0.3, 0.3);
          }
          return target.slice();
        }),
      );
      rig.run(steps * rateHz / 50);
      if (hold === "ordered") rig.order("hold");
      if (hold === "arm silent") rig.arms.isHeard[seed & 1] = false;
      if (hold === "main thread silent") rig.isMainAlive = false;
      while (rig.status.hold === "none") rig.run(1);
      const from = rig.records.length - 2;
      rig.run(rateHz);
      assert.equal(rig.status.hold, hold);
      assert.equal(rig.status.isStill, true);
      assertBraked(rig.records, from, 1 / rateHz);
      assert.ok(rig.last.wanted.every((value, i) => value === rig.last.command[i]));
    }),
    { numRuns: 24 },
  );
});

Deno.test("An ordered hold ends with the order, and the plan's time has gone on", () => {
  const rig = moving();
  rig.order("hold");
  rig.run(30);
  assert.equal(rig.status.hold, "ordered");
  const planned = rig.status.stepsLeft;
  rig.order("follow");
  rig.run(1);
  assert.equal(rig.status.hold, "none");
  assert.equal(rig.status.stepsLeft, planned - 1);
  // From rest at the limits of the filter, not at once.
  const speed = Math.abs(rig.last.command[0] - rig.records.at(-2)!.command[0]) / 0.02;
  assert.ok(speed <= DEFAULT_LIMITS.arms.left.waist.acceleration * 0.02 + 1e-9);
});

Deno.test("An emergency stop freezes setpoints at once, until a restart after its release", () => {
  const rig = moving();
  const { setpoints } = rig.arms, { command } = rig.last;
  rig.latch.set("hold");
  rig.run(20);
  assert.equal(rig.status.hold, "emergency stop");
  assert.equal(rig.arms.setpoints, setpoints);
  assert.deepEqual(rig.last.command, command);
  assert.equal(rig.status.isStill, true);
  // A restart waits for the release.
  rig.orderRestart();
  rig.run(5);
  assert.equal(rig.status.restarts, 1);
  rig.latch.clear();
  rig.arms.isFollowing = false;
  rig.arms.ticks[0][0] += 30;
  rig.run(1);
  assert.deepEqual([rig.status.hold, rig.status.restarts], ["no plan", 2]);
  assert.equal(rig.arms.setpoint(0)![1], rig.arms.ticks[0][0], "begins where the arm is");
  rig.run(50);
  assert.equal(rig.arms.setpoint(0)![1], rig.arms.ticks[0][0]);
});

Deno.test("A released emergency stop alone moves nothing", () => {
  const rig = moving();
  rig.latch.set("torque-off");
  rig.run(1);
  const { setpoints } = rig.arms;
  rig.latch.clear();
  rig.plan(sweep(50));
  rig.run(20);
  assert.equal(rig.status.hold, "not started");
  assert.equal(rig.arms.setpoints, setpoints);
  rig.latch.set("hold");
  rig.run(1);
  assert.equal(rig.status.hold, "emergency stop");
});

Deno.test("An arm that is silent for more than 100 ms holds both until a restart", () => {
  const rig = moving();
  rig.arms.isHeard[1] = false;
  rig.run(4);
  assert.equal(rig.status.hold, "none", "80 ms and the answer's own age are no silence yet");
  rig.run(3);
  const { status } = rig;
  assert.equal(status.hold, "arm silent");
  assert.deepEqual([status.blame?.culprit, status.blame?.allowed], ["right", 100]);
  assert.match(describeHold(status), /^a servo of the right arm has been silent for 1\d\d ms/);
  rig.arms.isHeard[1] = true;
  rig.run(30);
  assert.equal(rig.status.hold, "arm silent", "latched");
  assert.ok(rig.status.isStill);
  rig.start();
  assert.deepEqual([rig.status.hold, rig.status.blame], ["no plan", null]);
});

Deno.test("A single goal servo that does not answer counts as its arm's silence", () => {
  const rig = moving();
  rig.arms.answered[0] = ALL_ANSWERED & ~(1 << 3);
  rig.run(10);
  assert.equal(rig.status.hold, "arm silent");
  assert.equal(rig.status.blame?.culprit, "left");
  // Every other cycle is enough.
  const other = moving();
  for (let n = 0; n < 50; n++) {
    other.arms.answered[0] = n % 2 === 0 ? 0 : ALL_ANSWERED;
    other.run(1);
  }
  assert.equal(other.status.hold, "none");
});

Deno.test("An arm whose clock is ahead is silent all the same when it stops answering", () => {
  const rig = new MotionRig();
  rig.arms.clockAheadMs = 3_600_000;
  rig.start();
  rig.run(20);
  assert.equal(rig.status.hold, "no plan");
  rig.arms.isHeard[0] = false;
  rig.run(7);
  assert.equal(rig.status.hold, "arm silent");
});

Deno.test("A restart waits for arms that are heard, and says for which one", () => {
  const rig = new MotionRig();
  rig.arms.isHeard[0] = false;
  rig.orderRestart();
  rig.run(20);
  assert.deepEqual([rig.status.hold, rig.status.restarts], ["not started", 0]);
  assert.equal(describeHold(rig.status), "a servo of the left arm has never been heard");
  assert.equal(rig.arms.setpoints, 0);
  rig.arms.isHeard[0] = true;
  rig.run(1);
  assert.deepEqual([rig.status.hold, rig.status.restarts], ["no plan", 1]);
});

Deno.test("A restart while the arms move lets them come to rest first", () => {
  const rig = moving();
  const from = rig.records.length - 1;
  rig.orderRestart();
  rig.run(1);
  assert.deepEqual([rig.status.hold, rig.status.restarts], ["ordered", 1]);
  rig.run(40);
  assert.deepEqual([rig.status.hold, rig.status.restarts], ["no plan", 2]);
  for (let n = from + 1; n < rig.records.length; n++) {
    const speed = (rig.records[n].command[0] - rig.records[n - 1].command[0]) / 0.02;
    assert.ok(speed > -0.05 && speed < 0.61, `${speed} rad/s`);
  }
});

Deno.test("Too much current for more than 0.5 s without a break holds until a restart", () => {
  const rig = moving();
  for (const sign of [1, -1]) {
    rig.arms.current[7] = sign * OVER_LIMIT;
    rig.run(24);
    rig.arms.current[7] = 0;
    rig.run(1);
    assert.equal(rig.status.hold, "none", "0.48 s");
  }
  rig.arms.current[7] = -OVER_LIMIT;
  rig.run(27);
  assert.equal(rig.status.hold, "over-current");
  assert.match(
    describeHold(rig.status),
    /^right_waist draws 220\d mA for more than 0.5 s, its limit is 2200 mA$/,
  );
  rig.arms.current[7] = 0;
  rig.run(50);
  assert.equal(rig.status.hold, "over-current");
  rig.start();
  assert.equal(rig.status.hold, "no plan");
});

Deno.test("A joint far from its command for more than 0.5 s holds; grippers and dry runs are exempt", () => {
  const far = (options: { isDryRun?: boolean }, number: number) => {
    const rig = new MotionRig(options).start();
    rig.arms.isFollowing = false;
    const row = Float64Array.from(resetState());
    row[number] = number % 7 === 6 ? 1 : -0.8;
    rig.plan(range(200).map(() => row));
    rig.run(100);
    return rig;
  };
  const rig = far({}, 7);
  assert.equal(rig.status.hold, "off track");
  assert.equal(rig.status.blame?.culprit, "right_waist");
  assert.equal(rig.status.blame?.allowed, MAX_OFF_TRACK_RAD);
  assert.match(describeHold(rig.status), /^right_waist is 0\.\d\d rad from its command/);
  assert.equal(far({ isDryRun: true }, 7).status.hold, "none");
  assert.equal(far({}, 13).status.hold, "none");
});

Deno.test("A silent main thread makes the arms hold and forgets the plan; a new one moves them", () => {
  const rig = moving();
  rig.isMainAlive = false;
  rig.run(12);
  assert.equal(rig.status.hold, "none", "240 ms");
  rig.run(2);
  assert.equal(rig.status.hold, "main thread silent");
  assert.equal(rig.status.planId, 0);
  rig.plan(sweep(20));
  rig.run(20);
  assert.equal(rig.status.planId, 0, "nor does it take a plan without a sign of life");
  rig.isMainAlive = true;
  rig.run(1);
  assert.equal(rig.status.hold, "no plan");
  rig.plan(sweep(20));
  rig.run(1);
  assert.equal(rig.status.hold, "none");
});

Deno.test("The first reason that applies is told, and those behind it come to light", () => {
  const rig = moving();
  rig.order("hold");
  rig.isMainAlive = false;
  rig.arms.isFollowing = false;
  rig.arms.ticks[0][2] += 600;
  const seen: HoldReason[] = [rig.status.hold];
  const run = (cycles: number) => {
    for (let n = 0; n < cycles; n++) {
      rig.run(1);
      if (seen.at(-1) !== rig.status.hold) seen.push(rig.status.hold);
    }
  };
  run(10);
  rig.arms.current[0] = OVER_LIMIT;
  run(40);
  rig.arms.isHeard[0] = false;
  run(20);
  rig.latch.set("hold");
  run(1);
  assert.deepEqual(seen, [
    "none",
    "ordered",
    "main thread silent",
    "off track",
    "over-current",
    "emergency stop",
  ]);
  rig.latch.clear();
  rig.run(1);
  assert.equal(rig.status.hold, "not started");
});

Deno.test("A plan with a length that none can have is not followed", () => {
  const rig = new MotionRig().start();
  rig.plan([]);
  rig.run(2);
  assert.deepEqual([rig.status.hold, rig.status.planId], ["no plan", 0]);
});

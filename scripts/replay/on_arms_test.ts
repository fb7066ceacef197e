import assert from "node:assert/strict";
import { ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { MotionRig } from "../../controller/motion/testing.ts";
import { type Follower, PieceFollower } from "./on_arms.ts";
import { Tracking } from "./tracking.ts";

/** A slow sweep of the left waist that starts at rest. */
function sweep(steps: number): Float32Array {
  const targets = new Float32Array(steps * ALOHA_DIM);
  for (let n = 0; n < steps; n++) {
    targets.set(resetState(), n * ALOHA_DIM);
    targets[n * ALOHA_DIM] = 0.1 * (1 - Math.cos(2 * Math.PI * n / steps));
  }
  return targets;
}

/** A rig whose time passes by one cycle whenever somebody looks at its status. */
function rigFollower(rig: MotionRig, onLook: (looks: number) => void = () => {}): Follower {
  let looks = 0;
  return {
    follow(targets, firstStep) {
      const rows = Array.from(
        { length: targets.length / ALOHA_DIM },
        (_, i) => targets.subarray(i * ALOHA_DIM, (i + 1) * ALOHA_DIM),
      );
      return rig.plan(rows, firstStep);
    },
    status() {
      onLook(++looks);
      rig.run(1);
      return rig.status;
    },
  };
}

Deno.test("PieceFollower joins pieces without a gap and compares every step", async () => {
  const rig = new MotionRig().start();
  const targets = sweep(40);
  const pieces = new PieceFollower(rigFollower(rig), targets);
  await pieces.run({ signal: new AbortController().signal, pieceSteps: 8 });
  const moving = rig.records.filter(({ values }) => values[MOTION_RECORD.planIndex] >= 0);
  assert.equal(moving.length, 40);
  const steps = moving.map(({ values }) => values[MOTION_RECORD.step]);
  assert.deepEqual(steps, steps.map((_, i) => steps[0] + i), "no step between two pieces is held");
  moving.forEach(({ wanted }, i) => {
    assert.deepEqual([...wanted], [...targets.subarray(i * ALOHA_DIM, (i + 1) * ALOHA_DIM)]);
  });
  assert.equal(new Set(moving.map(({ values }) => values[MOTION_RECORD.planId])).size, 5);
  for (const { values } of rig.records) pieces.record(values);
  const report = pieces.report();
  assert.equal(report.steps, 40);
  assert.equal(report.clampedCycles, 0);
  // The rig's arms are a cycle behind their setpoints, and ticks are whole.
  assert.ok(report.max[0] > 0 && report.max[0] < 0.04, `${report.max[0]}`);
  assert.ok(report.rms[0] <= report.max[0]);
});

Deno.test("PieceFollower ends at once when the arms hold for a reason of their own", async () => {
  const rig = new MotionRig().start();
  const follower = rigFollower(rig, (looks) => {
    if (looks === 12) rig.latch.set("hold");
  });
  const pieces = new PieceFollower(follower, sweep(40));
  const signal = new AbortController().signal;
  await assert.rejects(
    pieces.run({ signal, pieceSteps: 8 }),
    /^Error: The arms have stopped on their way: an emergency stop is in force$/,
  );
});

Deno.test("PieceFollower ends when the motion thread has forgotten its plan", async () => {
  const rig = new MotionRig().start();
  const follower = rigFollower(rig, (looks) => {
    rig.isMainAlive = looks < 5 || looks > 25;
  });
  await assert.rejects(
    new PieceFollower(follower, sweep(40)).run({ signal: new AbortController().signal }),
    /The arms have stopped on their way/,
  );
});

Deno.test("PieceFollower throws the signal's reason", async () => {
  const rig = new MotionRig().start();
  const abort = new AbortController();
  const reason = new Error("Stopped by a test");
  const follower = rigFollower(rig, (looks) => {
    if (looks === 5) abort.abort(reason);
  });
  await assert.rejects(
    new PieceFollower(follower, sweep(40)).run({ signal: abort.signal }),
    reason,
  );
});

Deno.test("Tracking compares a gripper's opening with that of its command, and names clamps", () => {
  const target = resetState(0.5);
  const tracking = new Tracking(target);
  const record = new Float64Array(MOTION_RECORD.length);
  record[MOTION_RECORD.isStepEnd] = 1;
  record.set(target, MOTION_RECORD.measured);
  record[MOTION_RECORD.clamps + 2] = 4 + 8;
  record[MOTION_RECORD.refusal] = 2;
  tracking.add(record, 0);
  const { steps, max, clamps, clampedCycles, workspaceHolds } = tracking.report();
  assert.deepEqual([steps, clampedCycles, workspaceHolds], [1, 1, 1]);
  assert.deepEqual(clamps, { left_elbow: { step: 1, velocity: 1 } });
  assert.ok(max[0] < 1e-6, "a joint is compared as it is");
  assert.ok(max[6] > 0.01, "half a command is not half an opening");
  assert.deepEqual(new Tracking(target).report().rms, new Array(ALOHA_DIM).fill(0));
});

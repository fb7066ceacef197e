import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM, ARM_NAMES, CONTROL_RATE_HZ } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { MAX_PLAN_STEPS } from "../motion/motion_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOVING_NAMES } from "../safety/limits.ts";
import { createWorkspaceCheck } from "../safety/workspace.ts";
import { homePose, planPose, poseSteps, sleepPose } from "./poses.ts";

const workspace = createWorkspaceCheck(DEFAULT_LIMITS.workspace);
const LIMITS = ARM_NAMES.flatMap((arm) => MOVING_NAMES.map((n) => DEFAULT_LIMITS.arms[arm][n]));

const poses = fc.tuple(
  ...LIMITS.map(({ positionMin: min, positionMax: max }) => fc.double({ min, max, noNaN: true })),
);

/** Random poses within the limits that are clear, by at most so much. */
function clearPoses(count: number, maxSlackM: number, seed: number): number[][] {
  const random = seededRandom(seed);
  const found: number[][] = [];
  while (found.length < count) {
    const pose = LIMITS.map((limit) => uniform(random, limit.positionMin, limit.positionMax));
    const { isClear, slackM } = workspace(pose);
    if (isClear && slackM <= maxSlackM) found.push(pose);
  }
  return found;
}

/** Share of poses from which the robot gets there, over as many plans as it takes. */
function shareOfClear(starts: readonly number[][], to: Float32Array): number {
  const clear = starts.filter((start) => {
    let at: ArrayLike<number> = start;
    for (let plans = 0; plans < 8; plans++) {
      const plan = planPose(at, to, { workspace });
      if (!plan.isClear) return false;
      at = plan.targets.subarray(-ALOHA_DIM);
      if (plan.isComplete) return true;
    }
    return false;
  });
  return clear.length / starts.length;
}

Deno.test("homePose() and sleepPose() are clear and within the default limits", () => {
  for (const pose of [homePose(0), homePose(1), sleepPose(0), sleepPose(1)]) {
    assert.equal(workspace(pose).isClear, true);
    LIMITS.forEach(({ positionMin, positionMax }, i) => {
      assert.ok(pose[i] >= positionMin && pose[i] <= positionMax, `${i}: ${pose[i]}`);
    });
  }
});

Deno.test("planPose() goes from home to sleep and back directly", () => {
  for (const [from, to] of [[homePose(), sleepPose()], [sleepPose(), homePose(1)]]) {
    const plan = planPose(from, to);
    assert.equal(plan.route, "direct");
    assert.ok(plan.isClear && plan.isComplete);
    assert.deepEqual(plan.targets.slice(-ALOHA_DIM), to);
    assert.ok(plan.steps <= 250, `${plan.steps} steps`);
  }
});

Deno.test("planPose() is smooth: it starts and ends at rest, within speed and acceleration", () => {
  fc.assert(
    fc.property(poses, poses, fc.double({ min: 0.3, max: 3, noNaN: true }), (from, to, speed) => {
      const options = { maxSpeedRadS: speed, maxAccelerationRadS2: 4, workspace };
      const { targets, steps } = planPose(from, to, options);
      assert.ok(steps >= 1 && steps <= MAX_PLAN_STEPS);
      for (let i = 0; i < ALOHA_DIM; i++) {
        if (i % 7 === 6) continue; // openings, slower than their servo
        let last = from[i], lastSpeed = 0;
        for (let step = 0; step <= steps; step++) {
          const value = step < steps ? targets[step * ALOHA_DIM + i] : last;
          const now = (value - last) * CONTROL_RATE_HZ;
          assert.ok(Math.abs(now) <= speed + 1e-3, `speed ${now}`);
          const acceleration = (now - lastSpeed) * CONTROL_RATE_HZ;
          assert.ok(Math.abs(acceleration) <= 4 + 0.02, `acceleration ${acceleration}`);
          [last, lastSpeed] = [value, now];
        }
      }
    }),
    { numRuns: 25 },
  );
});

Deno.test("planPose() finds a clear way home and to sleep from nearly every clear pose", () => {
  const anywhere = clearPoses(100, Infinity, 3);
  const tight = clearPoses(60, 0.03, 4); // within 3 cm of something
  for (const to of [homePose(), sleepPose()]) {
    assert.ok(shareOfClear(anywhere, to) >= 0.99);
    assert.ok(shareOfClear(tight, to) >= 0.95);
  }
});

Deno.test("planPose() lifts the arms when the direct way is not clear", () => {
  const plans = clearPoses(60, 0.03, 4).map((pose) => planPose(pose, sleepPose(), { workspace }));
  const lifted = plans.filter(({ route }) => route === "lifted");
  assert.ok(lifted.length > 0);
  for (const { nearest, isClear } of plans) assert.equal(isClear, nearest.slackM >= 0);
});

Deno.test("planPose() takes half the speed that the limits allow", () => {
  const narrow = structuredClone(DEFAULT_LIMITS) as typeof DEFAULT_LIMITS;
  const slow = { ...narrow.arms.right, waist: { ...narrow.arms.right.waist, velocity: 0.4 } };
  const limits = { ...narrow, arms: { ...narrow.arms, right: slow } };
  const { steps } = planPose(homePose(), sleepPose(), { limits });
  const told = planPose(homePose(), sleepPose(), { maxSpeedRadS: 0.2, workspace }).steps;
  assert.equal(steps, told);
  assert.ok(steps > 2 * planPose(homePose(), sleepPose()).steps);
});

Deno.test("planPose() leads on in several plans where one is too short", () => {
  const from = homePose(), to = homePose();
  [from[0], to[0]] = [-3, 3];
  let at = from;
  let plans = 0;
  for (let isComplete = false; !isComplete && plans < 20; plans++) {
    const plan = planPose(at, to, { maxSpeedRadS: 0.3, workspace });
    assert.ok(plan.steps <= MAX_PLAN_STEPS);
    at = plan.targets.slice(-ALOHA_DIM);
    isComplete = plan.isComplete;
  }
  assert.deepEqual(at, to);
  assert.ok(plans >= 4 && plans < 10, `${plans} plans`);
});

Deno.test("planPose() shows what is in the way when no way is clear", () => {
  const inTable = homePose();
  [inTable[1], inTable[2]] = [1, 1]; // the arm reaches down through the table
  const plan = planPose(homePose(), inTable, { workspace });
  assert.equal(plan.isClear, false);
  assert.match(plan.nearest.what, /left .* to the table/);
});

Deno.test("poseSteps() stays when there is nowhere to go, and refuses what is no pose", () => {
  assert.deepEqual(poseSteps(homePose(), homePose()), homePose());
  assert.throws(() => poseSteps([0], homePose()), /it has 1 numbers, expected 14/);
  assert.throws(() => poseSteps(homePose().fill(NaN), homePose()), /left_waist is NaN/);
  const still = { maxSpeedRadS: 0 };
  assert.throws(
    () => poseSteps(homePose(), sleepPose(), still),
    /maxSpeedRadS is 0, expected a pos/,
  );
});

import assert from "node:assert/strict";
import { checkFinite, NonFiniteError } from "../../common/device/check_finite.ts";
import { GpuLostError } from "../../common/device/errors.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { MOTION_RECORD } from "../motion/motion_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOVING_NAMES } from "../safety/limits.ts";
import { cyclesOf, openRobot, type TestRobot, until, untilState } from "./testing.ts";
import { assertValid, FINAL_VALUE, HORIZON, rollOut, sumOf } from "./testing_rollout.ts";

await useDevice("wasm");

Deno.test("ArmRollout runs episodes on emulated arms", async (t) => {
  await using open = await openRobot();
  await open.robot.connect();
  await t.step(
    "sync: chunks whole, rewards complete, weights swapped between chunks",
    () => sync(open),
  );
  await t.step("overlap: chunks joined without a jump, late ones waited for", () => overlap(open));
  await t.step(
    "a camera that goes stale ends the episode; it goes on when it is back",
    () => stale(open),
  );
  await t.step(
    "arms hold when the policy computes no numbers, until there are others, and when its GPU is lost",
    () => policyFails(open),
  );
  await t.step("a forgotten plan does not stall the episode", () => forgotten(open));
  await t.step("refusals keep it from starting", () => refusals(open));
  await t.step("an abort ends it in every phase", () => aborts(open));
  await t.step(
    "a stop ends the episode, and it goes on after release and start",
    () => stopped(open),
  );
});

async function sync(open: TestRobot): Promise<void> {
  const { rollout, policy, world, episodeOf } = rollOut(open);
  world.script = { steps: 25, end: { isTerminal: true, isSuccess: true } };
  const done = await episodeOf((chunk) => 3 + chunk);
  assertValid(done, policy.seen);
  assert.equal(sumOf(done), world.given);
  assert.equal(done.at(-1)!.isSuccess, true);
  assert.equal(done.at(-1)!.finalValue, 0);
  assert.deepEqual(done.map(({ policyVersion }) => policyVersion), done.map((_, i) => 3 + i));
  for (const { stepsExecuted } of done.slice(0, -1)) assert.equal(stepsExecuted, HORIZON);
  assert.equal(open.robot.supervisor.status.state, "holding");
  assert.equal(rollout.interruptions, 0);

  world.script = { steps: 12, end: { isTruncated: true } };
  const cut = await episodeOf();
  assertValid(cut, policy.seen);
  assert.equal(sumOf(cut), world.given);
  assert.deepEqual([cut.at(-1)!.isTruncated, cut.at(-1)!.finalValue], [true, FINAL_VALUE]);
  assert.deepEqual(world.seeds, [0, 1]);
}

async function overlap(open: TestRobot): Promise<void> {
  const { arms } = open.robot;
  const { rollout, policy, world, episodeOf, records } = rollOut(open, { mode: "overlap" });
  world.script = { steps: 60, end: { isTruncated: true } };
  let begun = 0;
  world.onBegin = () => Promise.resolve(void (begun = records.length));
  let standing: { from: number; to: number } | null = null;
  policy.think = async () => {
    if (policy.seen.length !== 5) return;
    // This one comes late: the arms have nothing to do, and wait.
    await until(() => arms.motion.status().hold === "no plan", "the plan has ended");
    await until(() => arms.motion.status().isStill, "the arms stand");
    await cyclesOf(open.robot, 1);
    const from = records.length;
    await cyclesOf(open.robot, 8);
    standing = { from, to: records.length };
  };
  const done = await episodeOf();
  assertValid(done, policy.seen);
  assert.equal(sumOf(done), world.given);
  assert.equal(rollout.interruptions, 0);
  assert.ok(rollout.lateChunks >= 1);
  assert.ok(standing !== null);
  const { from, to } = standing as { from: number; to: number };
  const command = (record: Float64Array) =>
    Array.from(record.subarray(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM));
  assert.ok(to > from + 2);
  for (const record of records.slice(from, to)) {
    assert.deepEqual(command(record), command(records[from]), "no command moves while waiting");
  }
  assertSmooth(records.slice(begun).map(command));
}

/** No command of consecutive cycles is faster, or changes its speed more, than the limits allow. */
function assertSmooth(commands: readonly number[][]): void {
  const periodS = 0.02;
  for (let n = 2; n < commands.length; n++) {
    for (let i = 0; i < ALOHA_DIM; i++) {
      const { velocity, acceleration } = DEFAULT_LIMITS.arms.left[MOVING_NAMES[i % 7]];
      const speed = (commands[n][i] - commands[n - 1][i]) / periodS;
      const before = (commands[n - 1][i] - commands[n - 2][i]) / periodS;
      assert.ok(Math.abs(speed) <= velocity + 1e-6, `number ${i} goes at ${speed}/s`);
      const change = Math.abs(speed - before) / periodS;
      assert.ok(
        change <= acceleration * 1.01 + 1e-3,
        `number ${i} changes by ${change}/s² in ${n}`,
      );
    }
  }
}

async function stale(open: TestRobot): Promise<void> {
  const { rollout, policy, world } = rollOut(open);
  const { pictures } = world;
  world.onBegin = async (signal) => {
    while (!await pictures.waitUntilFresh(50)) signal.throwIfAborted();
  };
  assert.deepEqual(await rollout.advance(policy, 1), []);
  pictures.areFresh = false;
  const done = await rollout.advance(policy, 1);
  assertValid(done, policy.seen);
  // Nobody sees where the arms stand: the value of what was seen last stands in.
  assert.deepEqual([done.length, done[0].isCutShort, done[0].finalValue], [1, true, 0.5]);
  assert.equal(rollout.interruptions, 1);
  assert.equal(open.robot.supervisor.status.state, "holding");
  const next = rollout.advance(policy, 1);
  await untilState(open.robot, "holding");
  pictures.switchOn();
  await next;
  assert.equal(open.robot.supervisor.status.state, "running");
  rollout.interrupt("the camera is away");
  const [cut] = await rollout.advance(policy, 1);
  assert.deepEqual([cut.isCutShort, cut.episodeId], [true, "episode-1"]);
}

async function policyFails(open: TestRobot): Promise<void> {
  const { robot, logger } = open;
  const { rollout, policy, world } = rollOut(open);
  const good = policy.think;
  assert.deepEqual(await rollout.advance(policy, 1), []);
  const { planId } = robot.arms.motion.status();
  const from = logger.all.length;
  policy.think = () => Promise.resolve(checkFinite(NaN, "an action"));
  const done = await rollout.advance(policy, 1);
  assertValid(done, policy.seen);
  assert.deepEqual([done.length, done[0].isCutShort], [1, true]);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.equal(robot.arms.motion.status().planId, planId, "no plan was made of it");
  assert.equal(rollout.interruptions, 1, "the same weights are not tried again");
  const lines = logger.all.slice(from);
  assert.ok(lines.some((line) => /interrupted: The policy computed NaN for an action/.test(line)));
  const refused = lines.filter((line) => /No episode starts: version 1 of the policy/.test(line));
  assert.equal(refused.length, 1);
  policy.think = good;
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.equal(robot.supervisor.status.state, "running");
  // The same weights may go on, on a device that was opened again.
  policy.think = () => Promise.reject(new GpuLostError("Some GPU 4000", "device was lost"));
  const lost = await rollout.advance(policy, 2);
  assert.deepEqual([lost.length, lost[0].isCutShort], [1, true]);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.match(logger.all.at(-1)!, /interrupted: The GPU Some GPU 4000 is lost/);
  policy.think = good;
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.equal(robot.supervisor.status.state, "running");
  // A critic that fails at the end of an episode leaves no value, and no other episode begins.
  world.script = { steps: world.steps + 1, end: { isTruncated: true } };
  policy.observationValues = () => Promise.reject(new NonFiniteError("The critic computed NaN"));
  const cut = await rollout.advance(policy, 2);
  assert.equal(cut.at(-1)!.isTruncated, true);
  assert.equal(robot.supervisor.status.state, "holding");
  assert.deepEqual(await rollout.advance(policy, 2), []);
  assert.match(logger.all.at(-1)!, /No episode starts: version 2 .*The critic computed NaN/);
}

async function forgotten(open: TestRobot): Promise<void> {
  const { rollout, policy, world, episodeOf } = rollOut(open);
  world.script = { steps: 30, end: { isTerminal: true } };
  const { motion } = open.robot.arms;
  const { follow } = motion;
  let chunks = 0;
  // What happens when the motion thread forgets a plan: it never hears of this one.
  motion.follow = (targets, firstStep) => {
    const id = follow.call(motion, targets, firstStep);
    return ++chunks === 2 ? id + 1000 : id;
  };
  try {
    const done = await episodeOf();
    assertValid(done, policy.seen);
    assert.equal(sumOf(done), world.given);
    assert.equal(rollout.interruptions, 0);
    assert.ok(policy.seen.length >= 3);
  } finally {
    motion.follow = follow;
  }
}

async function refusals(open: TestRobot): Promise<void> {
  const { robot, logger } = open;
  let because = ["The policy's weights are randomly initialised", "Camera cam_high is stale"];
  const { rollout, policy, world, ending } = rollOut(open, { refusals: () => because });
  const from = logger.all.length;
  await robot.arms.motionStands();
  const { command } = robot.arms.motion.status();
  for (let n = 0; n < 2; n++) assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.deepEqual(robot.arms.motion.status().command, command, "nothing moves, not even home");
  assert.equal(world.seeds.length + policy.seen.length, 0);
  const lines = logger.all.slice(from).filter((line) => /No episode starts/.test(line));
  assert.equal(lines.length, 1, "it is said once");
  assert.match(lines[0], /randomly initialised.*cam_high is stale/);
  // One that comes while the world gets ready counts, too.
  because = [];
  world.onBegin = () => Promise.resolve(void (because = ["The policy does not fit this robot"]));
  assert.deepEqual(await rollout.advance(policy, 1), []);
  assert.equal(policy.seen.length, 0);
  assert.match(logger.all.at(-1)!, /does not fit this robot/);
  ending.abort();
}

async function aborts(open: TestRobot): Promise<void> {
  const { robot } = open;
  const inferring = rollOut(open);
  inferring.policy.think = () => Promise.resolve(inferring.ending.abort(new Error("over")));
  assert.deepEqual(await inferring.rollout.advance(inferring.policy, 1), []);
  assert.equal(robot.supervisor.status.state, "holding");

  const executing = rollOut(open);
  executing.world.onStep = ((step) => (measured: ArrayLike<number>) => {
    if (executing.world.steps === 3) executing.ending.abort(new Error("over"));
    return step.call(executing.world, measured);
  })(executing.world.onStep);
  const [done] = await executing.rollout.advance(executing.policy, 1);
  assert.deepEqual([done.isCutShort, done.isTerminal], [true, false]);
  assert.equal(robot.supervisor.status.state, "holding");

  const waiting = rollOut(open);
  waiting.world.onBegin = (signal) => {
    waiting.ending.abort(new Error("over"));
    return Promise.reject(signal.reason);
  };
  assert.deepEqual(await waiting.rollout.advance(waiting.policy, 1), []);
}

async function stopped(open: TestRobot): Promise<void> {
  const { robot } = open;
  const { rollout, policy, world, ending } = rollOut(open);
  world.script = { steps: 15, end: { isTerminal: true } };
  assert.deepEqual(await rollout.advance(policy, 1), []);
  robot.stop.trigger("test", "because");
  const [cut] = await rollout.advance(policy, 1);
  assert.deepEqual([cut.isCutShort, rollout.interruptions], [true, 1]);
  assert.equal(cut.finalValue, FINAL_VALUE, "the critic has looked at where the arms came to rest");
  const stuck = rollout.advance(policy, 1);
  robot.supervisor.release("test");
  assert.deepEqual(await stuck, []);
  await untilState(robot, "ready");
  const asked = rollout.advance(policy, 1);
  await until(() => robot.operator.isStartAwaited, "a start is awaited");
  // The arms go away and come back: a start that was said meanwhile does not count.
  robot.supervisor.dispatch({ type: "disconnect" });
  assert.equal(robot.operator.start("test"), true);
  await asked;
  assert.equal(robot.supervisor.needsStart, true);
  ending.abort(new Error("over"));
  assert.deepEqual(await rollout.advance(policy, 1), []);
}

import assert from "node:assert/strict";
import fc from "fast-check";
import { ACTION_RANGES, RESET_POSE_RAD, resetState } from "../../common/robot/aloha.ts";
import { CAMERA_NAMES, type Robot } from "../../common/types.ts";
import { SimulatedAloha } from "./aloha_sim.ts";

/** Both arms hold the reset pose, grippers open. */
const HOLD = resetState(1);

/** 40 pseudo-random but legal actions around the reset pose. */
const WIGGLE = Array.from(
  { length: 40 },
  (_, t) => HOLD.map((x, i) => i % 7 === 6 ? 0.5 + 0.5 * Math.sin(t) : x + 0.2 * Math.sin(t + i)),
);

Deno.test("SimulatedAloha repeats an episode exactly for the same seed and actions", async () => {
  using first = await SimulatedAloha.create({ task: "reach", imageSize: 24, startNoiseRad: 0.02 });
  using second = await SimulatedAloha.create({ task: "reach", imageSize: 24, startNoiseRad: 0.02 });
  const run = (robot: SimulatedAloha) => {
    robot.resetSync(5);
    const start = robot.observeSync();
    const outcomes = WIGGLE.map((action) => robot.stepSync(action));
    return { start, outcomes, end: robot.observeSync() };
  };
  second.resetSync(3);
  second.stepSync(WIGGLE[0]); // What came before a reset must not matter.
  const expected = run(first);
  assert.deepEqual(run(second), expected);
  assert.deepEqual(run(second), expected);
  first.resetSync(6);
  assert.notDeepEqual(first.readState(), expected.start.state);
});

Deno.test("SimulatedAloha repeats contacts too", async () => {
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 24 });
  const run = () => {
    robot.resetSync(1);
    for (const action of WIGGLE) robot.stepSync(action);
    return robot.data.views.qpos.slice();
  };
  assert.deepEqual(run(), run());
});

Deno.test("SimulatedAloha starts at the reset pose with open grippers", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
  robot.resetSync(9);
  const state = robot.readState();
  [...RESET_POSE_RAD, 1, ...RESET_POSE_RAD, 1].forEach((x, i) => {
    assert.ok(Math.abs(state[i] - x) < 1e-6);
  });
});

Deno.test("SimulatedAloha's start noise stays in bounds and leaves the ball alone", async () => {
  using plain = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
  using noisy = await SimulatedAloha.create({ task: "reach", imageSize: 24, startNoiseRad: 0.1 });
  plain.resetSync(4);
  noisy.resetSync(4);
  assert.deepEqual(noisy.data.views.mocapPos.slice(), plain.data.views.mocapPos.slice());
  const difference = noisy.readState().map((x, i) => Math.abs(x - plain.readState()[i]));
  assert.ok(Math.max(...difference) > 0.01 && Math.max(...difference) <= 0.1);
});

Deno.test("SimulatedAloha's servos follow their targets", async () => {
  using robot = await SimulatedAloha.create({
    task: "reach",
    imageSize: 24,
    reach: { successRadiusM: 1e-6 },
  });
  const target = HOLD.slice();
  target[0] = 0.4;
  target[5] = -0.5;
  target[6] = 0.2;
  target[13] = 0;
  for (let i = 0; i < 100; i++) robot.stepSync(target);
  const state = robot.readState();
  // Joints sink under gravity: kp is finite and nothing compensates.
  target.forEach((x, i) => assert.ok(Math.abs(state[i] - x) < 0.05, `${i}: ${state[i]}, not ${x}`));
});

Deno.test("SimulatedAloha truncates at the step budget and then asks for a reset", async () => {
  using robot = await SimulatedAloha.create({
    task: "reach",
    imageSize: 24,
    maxEpisodeSteps: 3,
    reach: { successRadiusM: 1e-6 },
  });
  assert.equal(robot.stepSync(HOLD).isTruncated, false);
  assert.equal(robot.stepSync(HOLD).isTruncated, false);
  const { reward: _, ...last } = robot.stepSync(HOLD);
  assert.deepEqual(last, { isTerminal: false, isTruncated: true, isSuccess: false });
  assert.equal(robot.hasEnded, true);
  assert.throws(() => robot.stepSync(HOLD), /ended after 3 steps; reset first/);
  robot.resetSync(1);
  assert.equal(robot.steps, 0);
  robot.stepSync(HOLD);
});

Deno.test("SimulatedAloha clips targets to the joint ranges and counts them", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
  const wild = HOLD.slice();
  wild[0] = 10;
  wild[8] = -10;
  wild[13] = 1.5;
  robot.stepSync(wild);
  assert.equal(robot.clipCount, 3);
  const { ctrl } = robot.data.views;
  assert.equal(ctrl[0], ACTION_RANGES[0].max);
  assert.equal(ctrl[9], ACTION_RANGES[8].min); // servo 8·1 + 1 is the right shoulder
  robot.stepSync(HOLD);
  assert.equal(robot.clipCount, 3);
  robot.resetSync(0);
  assert.equal(robot.clipCount, 0);
});

Deno.test("SimulatedAloha refuses malformed actions and does not move", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
  const before = robot.data.views.qpos.slice();
  const bad = HOLD.slice();
  bad[3] = NaN;
  assert.throws(() => robot.stepSync(bad), {
    name: "RangeError",
    message: /left_forearm_roll is NaN/,
  });
  fc.assert(
    fc.property(fc.nat(40).filter((n) => n !== 14), (length) => {
      assert.throws(() => robot.stepSync(new Float32Array(length)), RangeError);
    }),
    { numRuns: 30 },
  );
  await assert.rejects(robot.step(bad), RangeError);
  assert.deepEqual(robot.data.views.qpos.slice(), before);
  assert.equal(robot.steps, 0);
});

Deno.test("SimulatedAloha with actionDim 7 drives the left arm and holds the right one", async () => {
  using seven = await SimulatedAloha.create({ task: "reach", imageSize: 24, actionDim: 7 });
  using whole = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
  using padded = await SimulatedAloha.create({ task: "reach", imageSize: 24, actionDim: 7 });
  for (const action of WIGGLE) {
    const left = action.subarray(0, 7);
    seven.stepSync(left);
    whole.stepSync(Float32Array.from([...left, ...HOLD.subarray(7)]));
    padded.stepSync(Float32Array.from([...left, 1, 1, 1, 1, 1, 1, 0]));
  }
  assert.deepEqual(seven.readState(), whole.readState());
  assert.deepEqual(padded.readState(), whole.readState());
  assert.equal(seven.readState().length, 14);
  assert.throws(() => whole.stepSync(new Float32Array(7)), RangeError);
});

Deno.test("SimulatedAloha observes three pictures that later steps leave alone", async () => {
  using simulated = await SimulatedAloha.create({ task: "reach", imageSize: 32 });
  const robot: Robot = simulated;
  await robot.reset(2);
  const { images, state, prompt } = await robot.observe();
  assert.equal(prompt, "reach the red ball");
  assert.equal(state.length, 14);
  for (const name of CAMERA_NAMES) {
    assert.equal(images[name].width, 32);
    assert.equal(images[name].height, 32);
    assert.equal(images[name].data.length, 32 * 32 * 3);
  }
  const kept = structuredClone(images);
  for (const action of WIGGLE.slice(0, 10)) await robot.step(action);
  await robot.observe();
  assert.deepEqual(images, kept);
});

Deno.test("SimulatedAloha frees what it held: 200 robots do not grow the heap", async () => {
  using witness = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 24 });
  const createAndDispose = async () => {
    // The only robot of its task, so that the compiled scene comes and goes with it.
    using robot = await SimulatedAloha.create({ task: "reach", imageSize: 24 });
    robot.stepSync(HOLD);
    robot.observeSync();
  };
  for (let i = 0; i < 10; i++) await createAndDispose();
  const heapBytes = witness.data.heapBytes;
  for (let i = 0; i < 200; i++) await createAndDispose();
  assert.equal(witness.data.heapBytes, heapBytes);
});

Deno.test("SimulatedAloha can be disposed of twice, while others of its task go on", async () => {
  const [first, second] = await Promise.all([
    SimulatedAloha.create({ task: "reach", imageSize: 24 }),
    SimulatedAloha.create({ task: "reach", imageSize: 24 }),
  ]);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  second.stepSync(HOLD);
  second[Symbol.dispose]();
  assert.throws(() => second.stepSync(HOLD), Error);
});

Deno.test("SimulatedAloha refuses settings out of range in a sentence", async () => {
  const refuse = (options: Parameters<typeof SimulatedAloha.create>[0], message: RegExp) =>
    assert.rejects(SimulatedAloha.create(options), { name: "RangeError", message });
  await refuse({ task: "reach", imageSize: 0 }, /0 pixels.*1–4096/);
  await refuse({ task: "reach", maxEpisodeSteps: 0 }, /maxEpisodeSteps is 0/);
  await refuse({ task: "reach", startNoiseRad: 1 }, /startNoiseRad is 1 rad/);
  await refuse({ task: "reach", reach: { successRadiusM: 0 } }, /successRadiusM is 0 m/);
  await refuse({ task: "reach", reach: { timePenalty: NaN } }, /timePenalty is NaN/);
  await refuse({ task: "reach", reach: { boxMarginM: 0.2 } }, /boxMarginM is 0.2 m/);
  await refuse({ task: "transfer_cube", actionDim: 7 }, /needs both arms/);
});

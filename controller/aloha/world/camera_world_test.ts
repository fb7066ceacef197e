import assert from "node:assert/strict";
import { resetState } from "../../../common/robot/aloha.ts";
import { Operator } from "../operator/operator.ts";
import { CameraWorld, type CameraWorldOptions } from "./camera_world.ts";
import { lines, SwitchedPictures } from "./testing.ts";

const NEVER = new AbortController().signal;
const STATE = resetState(1);

function create(options: Partial<CameraWorldOptions> = {}) {
  const logger = lines();
  const operator = new Operator({ logger });
  const pictures = new SwitchedPictures();
  const world = new CameraWorld({
    prompt: "fold the towel",
    pictures,
    operator,
    maxEpisodeSteps: 5,
    autoStart: false,
    logger,
    ...options,
  });
  return { logger, operator, pictures, world };
}

Deno.test("CameraWorld.begin() waits for the operator, and says so once", async () => {
  const { world, operator, logger } = create();
  operator.start("HTTP"); // too early: it must not begin the next episode
  const begun = world.begin(0, NEVER);
  await logger.until(/waits for the operator/);
  assert.equal(operator.isStartAwaited, true);
  assert.throws(() => world.onStep(STATE), /no episode is running after 0 steps/);
  operator.start("HTTP");
  await begun;
  assert.deepEqual(logger.all, [
    "The episode waits for the operator: put everything in place, then say start (Enter)",
  ]);
  assert.equal(world.prompt, "fold the towel");
  assert.deepEqual(world.onStep(STATE), {
    reward: 0,
    isTerminal: false,
    isTruncated: false,
    isSuccess: false,
  });
});

Deno.test("CameraWorld.begin() asks nobody with autoStart", async () => {
  const { world, logger } = create({ autoStart: true });
  await world.begin(0, NEVER);
  assert.deepEqual(logger.all, []);
});

Deno.test("CameraWorld rewards nothing, truncates at its budget, and begins again before it", async () => {
  const { world } = create({ autoStart: true });
  const step = { reward: 0, isTerminal: false, isTruncated: false, isSuccess: false };
  await world.begin(0, NEVER);
  // Somebody else has ended this one.
  for (let n = 0; n < 3; n++) assert.deepEqual(world.onStep(STATE), step);
  await world.begin(1, NEVER);
  for (let n = 1; n < 5; n++) assert.deepEqual(world.onStep(STATE), step);
  assert.deepEqual(world.onStep(STATE), { ...step, isTruncated: true });
  assert.throws(() => world.onStep(STATE), /no episode is running after 5 steps/);
});

Deno.test("CameraWorld.begin() waits for pictures, then asks the operator", async () => {
  const { world, operator, pictures, logger } = create();
  pictures.areFresh = false;
  const begun = world.begin(0, NEVER);
  await logger.until(/waits for pictures/);
  assert.equal(operator.isStartAwaited, false);
  assert.equal(world.observe().kind, "unavailable");
  pictures.switchOn();
  await logger.until(/waits for the operator/);
  operator.start("HTTP");
  await begun;
  assert.equal(world.observe().kind, "pictures");
  assert.equal(logger.all[0], "The episode waits for pictures: cam_high is gone");
});

Deno.test("CameraWorld.begin() asks again when the cameras were gone at the start", async () => {
  const { world, operator, pictures, logger } = create();
  const begun = world.begin(0, NEVER);
  await logger.until(/waits for the operator/);
  pictures.areFresh = false;
  operator.start("HTTP");
  await logger.until(/cannot start: cam_high is gone/);
  pictures.switchOn();
  await logger.until(/say start \(Enter\) again/);
  assert.throws(() => world.onStep(STATE), /no episode is running/);
  operator.start("HTTP");
  await begun;
  world.onStep(STATE);
});

Deno.test("CameraWorld.begin() ends with the signal's reason, whatever it waits for", async () => {
  for (const areFresh of [true, false]) {
    const { world, operator, pictures, logger } = create();
    pictures.areFresh = areFresh;
    const controller = new AbortController();
    const begun = world.begin(0, controller.signal);
    await logger.until(/The episode waits for/);
    const reason = new Error("the program ends");
    controller.abort(reason);
    await assert.rejects(begun, reason);
    assert.equal(operator.isStartAwaited, false);
  }
});

Deno.test("CameraWorld closes its cameras, and refuses a budget that is no number of steps", async () => {
  const { world, pictures } = create({ autoStart: true });
  await world.begin(0, NEVER);
  await world[Symbol.asyncDispose]();
  assert.ok(pictures.isClosed);
  assert.throws(() => world.onStep(STATE), /no episode is running/);
  assert.throws(() => create({ maxEpisodeSteps: 0 }), {
    name: "RangeError",
    message: "Cannot use cameras and an operator: maxEpisodeSteps is 0, expected an integer of 1 " +
      "or more",
  });
});

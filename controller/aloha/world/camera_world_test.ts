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

for (const [verdict, reward] of [["success", 1], ["failure", 0]] as const) {
  Deno.test(`CameraWorld ends with reward ${reward} at the operator's ${verdict}`, async () => {
    const { world, operator } = create({ autoStart: true });
    operator.success("HTTP"); // before the episode: of no account
    await world.begin(0, NEVER);
    assert.equal(world.onStep(STATE).isTerminal, false);
    operator[verdict]("HTTP");
    assert.deepEqual(world.onStep(STATE), {
      reward,
      isTerminal: true,
      isTruncated: false,
      isSuccess: verdict === "success",
    });
    assert.equal(operator.isVerdictAwaited, false);
    assert.throws(() => world.onStep(STATE), /no episode is running after 2 steps/);
    await world.begin(1, NEVER);
    assert.equal(world.onStep(STATE).isTerminal, false);
  });
}

Deno.test("CameraWorld truncates an episode that nobody judges, and prefers a verdict", async () => {
  const { world, operator } = create({ autoStart: true });
  const run = async (beforeLast: () => void) => {
    await world.begin(0, NEVER);
    for (let step = 1; step < 5; step++) assert.equal(world.onStep(STATE).isTruncated, false);
    beforeLast();
    return world.onStep(STATE);
  };
  const nothing = { reward: 0, isTerminal: false, isSuccess: false };
  assert.deepEqual(await run(() => {}), { ...nothing, isTruncated: true });
  const success = { reward: 1, isTerminal: true, isSuccess: true };
  assert.deepEqual(await run(() => operator.success("HTTP")), { ...success, isTruncated: false });
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
    assert.equal(operator.isVerdictAwaited, false);
  }
});

Deno.test("CameraWorld closes its cameras, and refuses a budget that is no number of steps", async () => {
  const { world, operator, pictures } = create({ autoStart: true });
  await world.begin(0, NEVER);
  await world[Symbol.asyncDispose]();
  assert.ok(pictures.isClosed);
  assert.equal(operator.isVerdictAwaited, false);
  assert.throws(() => create({ maxEpisodeSteps: 0 }), {
    name: "RangeError",
    message: "Cannot use cameras and an operator: maxEpisodeSteps is 0, expected an integer of 1 " +
      "or more",
  });
});

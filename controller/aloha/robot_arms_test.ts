import assert from "node:assert/strict";
import { ARM_NAMES, resetState } from "../../common/robot/aloha.ts";
import { homePose, sleepPose } from "../arms/poses.ts";
import { WATCHDOG_UNITS } from "../arms/watchdog.ts";
import { EmulatorHost } from "../dynamixel/emulator/emulator_host.ts";
import { viperXServos } from "../dynamixel/emulator/viperx_arm.ts";
import { HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { RobotArms } from "./robot_arms.ts";
import { areAll, goalsOf, itemsOf } from "./testing.ts";
import { lines } from "./world/testing.ts";

/** Opening of the grippers, which have the longest way from open to closed. */
const GRIPPER = 0.2;
const never = new AbortController().signal;

/** Arms on an emulator that outlives them, with somebody who shows that the main thread is alive. */
async function openArms({ ports: [left, right] }: Pick<EmulatorHost, "ports">, isDryRun: boolean) {
  await using stack = new AsyncDisposableStack();
  const arms = stack.use(
    await RobotArms.open({
      kind: "aloha",
      ports: { left, right },
      driver: "builtin",
      library: "",
      libraryVariable: "",
      rateHz: 50,
      limits: DEFAULT_LIMITS,
      isDryRun,
      logger: lines(),
      onBusEvent: () => {},
      onMotionFailure: (sentence) => assert.fail(sentence),
    }),
  );
  const timer = setInterval(() => arms.motion.alive(), 10);
  stack.defer(() => clearInterval(timer));
  const owned = stack.move();
  return { arms, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Whether the joints are as told; the opening of a gripper is not linear in its command. */
const near = (a: ArrayLike<number>, b: ArrayLike<number>, toleranceRad: number) =>
  Array.from(a).every((value, i) => i % 7 === 6 || Math.abs(value - b[i]) <= toleranceRad);

Deno.test("RobotArms drive both arms of an emulator", async (t) => {
  const pose = resetState(GRIPPER);
  await using host = await EmulatorHost.start(
    ARM_NAMES.map((_, i) => ({ servos: viperXServos(pose.subarray(7 * i, 7 * i + 7)), seed: i })),
  );
  await t.step("a dry run switches no torque on and moves nothing", () => dryRun(host));
  await t.step("a port that is not there is one sentence", () => missingPort(host));
  await t.step("arms are checked, engaged, moved and closed", () => drive(host));
  await t.step("arms are laid down, let go and recovered", () => recoverAndSleep(host));
});

async function dryRun(host: EmulatorHost): Promise<void> {
  const before = await itemsOf(host, "presentPosition");
  {
    await using open = await openArms(host, true);
    const { arms } = open;
    assert.deepEqual((await arms.check()).map(({ arm, isFit }) => [arm, isFit]), [
      ["left", true],
      ["right", true],
    ]);
    await arms.engage(never);
    await arms.restartGrippers(never);
    const target = homePose(GRIPPER);
    target[0] = 0.2;
    await arms.moveTo(target, never);
    assert.ok(near(arms.motion.status().command, target, 1e-6));
    assert.ok(near(arms.measured(), resetState(GRIPPER), 0.02), "nothing has moved");
    assert.ok(areAll(await itemsOf(host, "torqueEnable"), 0));
  }
  assert.ok(areAll(await itemsOf(host, "torqueEnable"), 0));
  assert.deepEqual(await itemsOf(host, "presentPosition"), before);
}

/** Keep this thread from everything else for so long. */
function beBusy(ms: number): void {
  const endMs = performance.now() + ms;
  while (performance.now() < endMs);
}

async function missingPort(host: EmulatorHost): Promise<void> {
  const [left] = host.ports;
  const ports = [left, "/dev/ttyDXL_that_is_not_there"];
  await assert.rejects(
    async () => {
      await using _open = await openArms({ ports }, false);
    },
    /\/dev\/ttyDXL_that_is_not_there/,
  );
}

async function drive(host: EmulatorHost): Promise<void> {
  {
    await using open = await openArms(host, false);
    const { arms } = open;
    assert.ok(arms.measured().every(Number.isNaN), "nothing is known before the first cycle");
    await arms.engage(never);
    assert.ok(areAll(await itemsOf(host, "torqueEnable"), 1));
    assert.ok(areAll(await itemsOf(host, "busWatchdog"), WATCHDOG_UNITS));
    assert.deepEqual(ARM_NAMES.map((arm) => arms.buses[arm].mode), ["drive", "drive"]);

    const target = homePose(GRIPPER);
    target[0] = 0.3;
    target[7] = -0.3;
    const moving = arms.moveTo(target, never);
    // The motion thread forgets the plan of a main thread that is silent; the way is planned anew.
    setTimeout(() => beBusy(400), 200);
    await moving;
    assert.ok(near(arms.measured(), target, 0.02));
    assert.ok(arms.motion.status().isStill);

    await arms.restartGrippers(never);
    assert.ok(areAll(await itemsOf(host, "torqueEnable"), 1));
    assert.ok(areAll(await itemsOf(host, "busWatchdog"), WATCHDOG_UNITS));
    assert.ok(near(arms.measured(), target, 0.02), "the arms held meanwhile");

    const gone = new AbortController();
    const back = arms.moveTo(homePose(GRIPPER), gone.signal);
    gone.abort(new Error("the purpose is gone"));
    await assert.rejects(back, /the purpose is gone/);
    await arms.motionStands();
  }
  // Four units are 80 ms: an armed watchdog would have expired by now.
  await host.command(0, { kind: "advance", ms: 200 });
  await host.command(1, { kind: "advance", ms: 200 });
  assert.ok(areAll(await itemsOf(host, "busWatchdog"), 0), "the watchdogs are off");
  assert.ok(areAll(await itemsOf(host, "torqueEnable"), 1), "the arms hold");
}

async function recoverAndSleep(host: EmulatorHost): Promise<void> {
  // The arms still have their torque, as after a controller that was closed or killed.
  await using open = await openArms(host, false);
  const { arms } = open;
  await arms.engage(never);
  const goals = await goalsOf(host);
  await arms.sleep(never);
  assert.notDeepEqual(await goalsOf(host), goals);
  assert.ok(near(arms.measured(), sleepPose(), 0.05));
  assert.ok(areAll(await itemsOf(host, "torqueEnable"), 0));

  await host.command(1, { kind: "hardwareError", id: 4, bits: HARDWARE_ERROR.overload });
  const { checks, restarted } = await arms.recover();
  assert.deepEqual(restarted, ["servo 4 of the right arm", "servo 5 of the right arm"]);
  assert.ok(checks.every(({ isFit }) => isFit));
  assert.ok(areAll(await itemsOf(host, "hardwareErrorStatus"), 0));
  assert.ok(areAll(await itemsOf(host, "torqueEnable"), 0), "a restart gives no torque");
}

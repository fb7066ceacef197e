import assert from "node:assert/strict";
import { ARM_NAMES } from "../../common/robot/aloha.ts";
import { WATCHDOG_UNITS } from "../arms/watchdog.ts";
import { HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import type { AlohaRobot } from "./aloha_robot.ts";
import {
  areAll,
  busOf,
  cyclesOf,
  goalsOf,
  itemsOf,
  openRobot,
  type TestRobot,
  until,
  untilState,
} from "./testing.ts";

const never = new AbortController().signal;

/** Wait until the arms are ready, with torque and armed watchdogs. */
async function untilHeld({ robot, emulator }: TestRobot): Promise<void> {
  await untilState(robot, "ready");
  const isHeld = async () =>
    areAll(await itemsOf(emulator, "torqueEnable"), 1) &&
    areAll(await itemsOf(emulator, "busWatchdog"), WATCHDOG_UNITS);
  await until(isHeld, "torque is on and the watchdogs are armed");
}

/** Home the arms and wait for it. */
async function home({ supervisor }: AlohaRobot): Promise<void> {
  supervisor.started();
  assert.equal(supervisor.dispatch({ type: "home" }).isAccepted, true);
  while (supervisor.status.state === "homing") await supervisor.change(never);
  assert.equal(supervisor.status.state, "holding", supervisor.status.reason);
}

/** Send the arms on a way of two seconds. */
function move({ arms }: AlohaRobot): void {
  const { command } = arms.motion.status();
  const steps = 100;
  const targets = new Float32Array(14 * steps);
  for (let step = 0; step < steps; step++) {
    targets.set(command, 14 * step);
    targets[14 * step] = command[0] + 0.4 * (step + 1) / steps;
  }
  arms.motion.resume();
  arms.motion.follow(targets);
}

/** Make sure that no goal changes for so many cycles. */
async function assertNothingMoves({ robot, emulator }: TestRobot, cycles = 10): Promise<void> {
  const goals = await goalsOf(emulator);
  await cyclesOf(robot, cycles);
  assert.deepEqual(await goalsOf(emulator), goals);
}

Deno.test("Supervisor drives emulated arms through trouble", async (t) => {
  await using open = await openRobot();
  const { robot, logger, emulator } = open;
  const { supervisor, stop } = robot;
  await t.step("connects, homes and holds", async () => {
    await robot.connect();
    assert.match(logger.all.join("\n"), /left arm on .*fit to be prepared/);
    await untilHeld(open);
    await home(robot);
    assert.equal(supervisor.status.isHomed, true);
  });

  await t.step(
    "a stop that holds: nothing moves until a start, and then comes homing",
    async () => {
      assert.equal(supervisor.dispatch({ type: "start" }).isAccepted, true);
      move(robot);
      await until(() => robot.arms.motion.status().command[0] > 0.15, "the arms move");
      stop.trigger("test", "because");
      assert.equal(supervisor.status.state, "stopped");
      assert.equal(robot.arms.latch.mode, "hold");
      await cyclesOf(robot, 2);
      await assertNothingMoves(open);
      for (const again of ["one", "two", "three"]) stop.trigger("test", again);
      assert.equal(stop.record?.requests, 4);
      assert.equal(supervisor.counts.stops, 4);
      for (const type of ["start", "home", "resume", "checked", "recover"] as const) {
        assert.equal(supervisor.dispatch({ type }).isAccepted && type !== "checked", false, type);
      }
      assert.ok(areAll(await itemsOf(emulator, "torqueEnable"), 1), "the arms hold");
      assert.equal(supervisor.release("test"), true);
      assert.equal(supervisor.release("test"), false);
      assert.deepEqual([supervisor.needsStart, supervisor.status.isHomed], [true, false]);
      await untilHeld(open);
      assert.equal(supervisor.dispatch({ type: "start" }).isAccepted, false, "it homes first");
    },
  );

  await t.step("a stop in the middle of homing, and one while torque comes back", async () => {
    supervisor.started();
    supervisor.dispatch({ type: "home" });
    await until(() => !robot.arms.motion.status().isStill, "the arms are on their way");
    stop.trigger("test", "homing");
    await cyclesOf(robot, 2);
    await assertNothingMoves(open);
    supervisor.release("test");
    await until(() => robot.arms.buses.left.mode === "idle", "the arms are being prepared");
    stop.trigger("test", "engaging");
    assert.equal(supervisor.status.state, "stopped");
    supervisor.release("test");
    await untilHeld(open);
    const [waist] = robot.arms.measured();
    assert.ok(waist > 0.03 && waist < 0.4, `they hold where they were stopped, at ${waist} rad`);
    await home(robot);
  });

  await t.step("a hold on the way home ends it without a fault", async () => {
    supervisor.dispatch({ type: "home" });
    supervisor.dispatch({ type: "hold" });
    assert.equal(supervisor.status.state, "holding");
    await home(robot);
    assert.equal(supervisor.counts.faults, 0);
  });

  await t.step("a servo that vanishes comes back with its power", () => vanish(open, false));
  await t.step("a servo that vanishes comes back without its torque", () => vanish(open, true));
  await t.step("a bus that is pulled out comes back", () => unplug(open));
  await t.step("a fault is named, a hot servo is not recovered, a cool one is", () => fault(open));
  await t.step("every one of several faults is named", () => twoFaults(open));
});

async function vanish(open: TestRobot, hasLostPower: boolean): Promise<void> {
  const { robot, emulator } = open;
  const { supervisor } = robot;
  const { disconnects } = supervisor.counts;
  await emulator.command(busOf("right"), { kind: "vanish", id: 6 });
  await untilState(robot, "disconnected");
  assert.equal(supervisor.counts.disconnects, disconnects + 1);
  await cyclesOf(robot, 2);
  await emulator.command(busOf("right"), { kind: "bringBack", id: 6, hasLostPower });
  await untilHeld(open);
  assert.equal(supervisor.needsStart, false, "it goes on by itself");
}

async function unplug(open: TestRobot): Promise<void> {
  const { robot, emulator, logger } = open;
  await emulator.command(busOf("left"), { kind: "unplug" });
  await untilState(robot, "disconnected");
  assert.match(logger.all.join("\n"), /The left arm is lost/);
  assert.equal(await emulator.command(busOf("left"), { kind: "plug" }), robot.arms.buses.left.port);
  await untilHeld(open);
}

async function fault(open: TestRobot): Promise<void> {
  const { robot, emulator, logger } = open;
  const { supervisor } = robot;
  const left = busOf("left");
  await emulator.command(left, { kind: "temperature", id: 4, temperatureC: 85 });
  await emulator.command(left, { kind: "hardwareError", id: 4, bits: HARDWARE_ERROR.overheating });
  await untilState(robot, "faulted");
  assert.match(supervisor.status.reason, /left.*elbow.*servo 4.*overheat|left.*servo 4.*elbow/i);
  assert.ok(logger.all.some((line) => line.startsWith("FAULT: ") && /elbow/.test(line)));
  for (const type of ["home", "start", "resume"] as const) {
    assert.equal(supervisor.dispatch({ type }).isAccepted, false);
  }
  assert.match(await supervisor.recover(), /^Cannot recover left_elbow .*8\d °C.*let it cool/);
  assert.equal(supervisor.status.state, "faulted");
  assert.equal(supervisor.counts.recoveries, 0);

  await emulator.command(left, { kind: "temperature", id: 4, temperatureC: 40 });
  assert.match(await supervisor.recover(), /^Recovered: servo 4 of the left arm, servo 5/);
  assert.deepEqual([supervisor.needsStart, supervisor.counts.recoveries], [true, 1]);
  await untilHeld(open);
  assert.match(await supervisor.recover(), /not faulted/);
}

async function twoFaults(open: TestRobot): Promise<void> {
  const { robot, emulator, logger } = open;
  const { supervisor } = robot;
  const from = logger.all.length;
  const bits = HARDWARE_ERROR.overload;
  await emulator.command(busOf("left"), { kind: "hardwareError", id: 7, bits });
  await emulator.command(busOf("right"), { kind: "hardwareError", id: 1, bits });
  const faults = () =>
    logger.all.slice(from).filter((line) => line.startsWith("FAULT: ")).join("; ");
  await until(
    () => /left.*wrist_angle/.test(faults()) && /right.*waist/.test(faults()),
    "both are named",
  );
  assert.equal(supervisor.status.state, "faulted");
  await emulator.command(busOf("right"), { kind: "unplug" });
  await until(() => !supervisor.status.isConnected, "the bus is away");
  assert.equal(supervisor.status.state, "faulted", "the fault stays the first thing to see to");
  await emulator.command(busOf("right"), { kind: "plug" });
  await until(() => supervisor.status.isConnected, "the bus is back");
  assert.match(
    await supervisor.recover(),
    /^Recovered: servo 7 of the left arm, servo 1 of the right/,
  );
  await untilHeld(open);
  assert.ok(ARM_NAMES.every((arm) => robot.arms.buses[arm].mode === "drive"));
}

Deno.test("Supervisor refuses arms with a missing servo, and is closed while faulted", async () => {
  await using open = await openRobot();
  const { robot, emulator } = open;
  await emulator.command(busOf("right"), { kind: "vanish", id: 8 });
  await assert.rejects(
    robot.connect(),
    /^Error: The arms cannot be driven: right_wrist_rotate \(servo 8\) does not answer on .*right/,
  );
  assert.equal(robot.supervisor.status.state, "faulted");
  assert.ok(areAll(await itemsOf(emulator, "torqueEnable"), 0), "no torque is switched on");
});

Deno.test("Supervisor that is closed while it looks at the arms begins nothing more", async () => {
  await using open = await openRobot();
  const { robot, logger } = open;
  const connecting = assert.rejects(robot.connect(), /were closed while they were looked at/);
  await robot[Symbol.asyncDispose]();
  await connecting;
  assert.equal(robot.supervisor.status.isConnected, false);
  assert.ok(!logger.all.some((line) => /is ready/.test(line)));
});

Deno.test("Supervisor that is closed on the way home, or while a servo is away, begins nothing more", async () => {
  const onTheWay = async ({ robot }: TestRobot) => {
    await until(() => robot.supervisor.status.state === "homing", "the arms go home");
  };
  const away = async ({ emulator, logger }: TestRobot) => {
    await emulator.command(busOf("left"), { kind: "vanish", id: 9 });
    await logger.until(/trying again until it answers/);
  };
  for (const meet of [onTheWay, away]) {
    await using open = await openRobot();
    const { robot } = open;
    await robot.connect();
    await untilHeld(open);
    robot.supervisor.dispatch({ type: "home" });
    await meet(open);
    await robot[Symbol.asyncDispose]();
    const { state, isConnected } = robot.supervisor.status;
    assert.deepEqual([state, isConnected], ["disconnected", false]);
  }
});

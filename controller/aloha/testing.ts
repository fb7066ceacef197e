/**
 * What the tests of the joined robot share: emulated arms that begin near home, and looks at their servos.
 *
 * @module
 */

import { ARM_NAMES, type ArmName, resetState } from "../../common/robot/aloha.ts";
import type { ControlItemName } from "../dynamixel/control_table.ts";
import type { EmulatorHost } from "../dynamixel/emulator/emulator_host.ts";
import { GOAL_IDS, SERVO_IDS } from "../dynamixel/thread/bus_memory.ts";
import type { StopMode } from "../safety/emergency_stop.ts";
import { loadLimits } from "../safety/limits.ts";
import { AlohaRobot } from "./aloha_robot.ts";
import { type Lines, lines } from "./world/testing.ts";

/** Longest wait for something to become true, in ms: a busy machine may be slow. */
const DEADLINE_MS = 30_000;
/** How often it is looked for, in ms. */
const POLL_MS = 5;

/** An open robot, with everything that it says. */
export interface TestRobot extends AsyncDisposable {
  /** The robot. */
  readonly robot: AlohaRobot;
  /** Its emulator; the left arm is bus 0. */
  readonly emulator: EmulatorHost;
  /** What it logs. */
  readonly logger: Lines;
}

/** How a {@link TestRobot} is. */
export interface TestRobotOptions {
  /** What an emergency stop does; `hold` unless told. */
  readonly stopMode?: StopMode;
  /** A person must say start; not so unless told. */
  readonly needsStart?: boolean;
  /** Silence of the operator that is allowed, in ms; 0, for no watch, unless told. */
  readonly heartbeatTimeoutMs?: number;
}

/**
 * Open emulated arms that stand at home, grippers open and without torque, so that homing is short.
 *
 * @param options What differs from a robot that starts by itself and holds when it is stopped.
 * @returns The robot, not connected yet.
 */
export async function openRobot(options: TestRobotOptions = {}): Promise<TestRobot> {
  const { stopMode = "hold", needsStart = false, heartbeatTimeoutMs = 0 } = options;
  const logger = lines();
  const robot = await AlohaRobot.open({
    settings: {
      kind: "emulated",
      ports: { left: "", right: "" },
      driver: "builtin",
      library: "",
      libraryVariable: "",
      rateHz: 50,
      loaded: await loadLimits(null),
      isDryRun: false,
    },
    stopMode,
    heartbeatTimeoutMs,
    needsStart,
    stepLog: "",
    task: { name: "test", prompt: "test" },
    startPose: resetState(1),
    logger,
  });
  const dispose = () => robot[Symbol.asyncDispose]();
  return { robot, emulator: robot.arms.emulator!, logger, [Symbol.asyncDispose]: dispose };
}

/**
 * Read an item of servos of both arms past the bus.
 *
 * @param emulator The emulator.
 * @param item Which item.
 * @param ids Which servos of each arm; all nine unless told.
 * @returns Values, the left arm's first, in the order of the IDs.
 */
export async function itemsOf(
  emulator: EmulatorHost,
  item: ControlItemName,
  ids: readonly number[] = SERVO_IDS,
): Promise<number[]> {
  const calls = ARM_NAMES.flatMap((_, bus) =>
    ids.map((id) => emulator.command(bus, { kind: "get", id, item }))
  );
  return (await Promise.all(calls)).map(Number);
}

/** Goal_Position in ticks of every servo that takes goals, `[14]`. */
export function goalsOf(emulator: EmulatorHost): Promise<number[]> {
  return itemsOf(emulator, "goalPosition", GOAL_IDS);
}

/** Index of an arm's bus in the emulator. */
export function busOf(arm: ArmName): number {
  return ARM_NAMES.indexOf(arm);
}

/**
 * Wait until something is true.
 *
 * @param isTrue Looks.
 * @param what In words, for the error.
 * @throws {Error} It has not become true in time.
 */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const endMs = performance.now() + DEADLINE_MS;
  while (!(await isTrue())) {
    if (performance.now() > endMs) {
      throw new Error(`Waited ${DEADLINE_MS} ms in vain until ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** Wait until a robot is in a state. */
export function untilState(robot: AlohaRobot, state: string): Promise<void> {
  return until(() => robot.supervisor.status.state === state, `the robot is ${state}`);
}

/** Wait until so many more cycles of both buses have run. */
export async function cyclesOf(robot: AlohaRobot, cycles: number): Promise<void> {
  const counts = () => ARM_NAMES.map((arm) => robot.arms.buses[arm].counters().cycles);
  const wanted = counts().map((count) => count + cycles);
  await until(() => counts().every((count, i) => count >= wanted[i]), `${cycles} cycles have run`);
}

/** Whether all numbers of a list are the same one. */
export function areAll(values: readonly number[], value: number): boolean {
  return values.every((each) => each === value);
}

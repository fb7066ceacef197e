/**
 * From ALOHA's numbers to the servos' ticks and back, without making an object.
 *
 * Servos with Drive_Mode 1 report and take reversed positions by themselves, so one formula fits all
 * joints. A gripper has two measures: its *command*, linear in the servo's angle, and its *state*,
 * linear in the opening of the fingers, which a crank and a rod move.
 *
 * Source: tonyzhaozh/aloha (`aloha_scripts/constants.py`) for the gripper's ranges; the linkage is a
 * slider-crank whose angle is counted from the crank's middle position.
 *
 * @module
 */

import {
  ARM_DIM,
  type ArmName,
  armOffset,
  FOLLOWER_GRIPPER_JOINT_RAD,
  FOLLOWER_GRIPPER_LINEAR_M,
  JOINTS_PER_ARM,
} from "../../common/robot/aloha.ts";
import { TICKS_PER_TURN } from "../dynamixel/control_table.ts";
import { GOAL_SERVOS } from "./servo_layout.ts";

/** Present_Position at 0 rad, in ticks. */
const ZERO_TICKS = TICKS_PER_TURN / 2;
const TICKS_PER_RAD = TICKS_PER_TURN / (2 * Math.PI);

/** Radius of the gripper's horn, the crank, in metres. */
const HORN_M = 0.022;
/** Length of the arm that joins horn and finger, the rod, in metres. */
const ROD_M = 0.036;

const JOINT_MIN = FOLLOWER_GRIPPER_JOINT_RAD.min;
const JOINT_SPAN = FOLLOWER_GRIPPER_JOINT_RAD.max - FOLLOWER_GRIPPER_JOINT_RAD.min;
const LINEAR_MIN = FOLLOWER_GRIPPER_LINEAR_M.min;
const LINEAR_SPAN = FOLLOWER_GRIPPER_LINEAR_M.max - FOLLOWER_GRIPPER_LINEAR_M.min;

/**
 * Ticks of a joint angle: 2048 is 0 rad, 4096 a turn.
 *
 * @param rad Angle in rad.
 * @returns The nearest tick; not bounded.
 */
export function radToTicks(rad: number): number {
  return ZERO_TICKS + Math.round(rad * TICKS_PER_RAD);
}

/**
 * The angle of a position in ticks.
 *
 * @param ticks Ticks, whole or not.
 * @returns Angle in rad.
 */
export function ticksToRad(ticks: number): number {
  return (ticks - ZERO_TICKS) / TICKS_PER_RAD;
}

/**
 * The gripper servo's angle for a command.
 *
 * @param command 0 closed – 1 open; not bounded.
 * @returns Angle in rad.
 */
export function gripperCommandToRad(command: number): number {
  return JOINT_MIN + command * JOINT_SPAN;
}

/**
 * The command that an angle of the gripper's servo stands for.
 *
 * @param rad Angle in rad.
 * @returns 0 closed – 1 open; not bounded.
 */
export function gripperRadToCommand(rad: number): number {
  return (rad - JOINT_MIN) / JOINT_SPAN;
}

/**
 * How far the gripper's linkage is open: the slider of a slider-crank.
 *
 * @param rad Angle of the gripper's servo, in rad.
 * @returns Linear position of a finger, in metres; greatest at a quarter turn.
 */
export function gripperRadToLinearM(rad: number): number {
  const across = HORN_M * Math.cos(rad);
  return HORN_M * Math.sin(rad) + Math.sqrt(ROD_M * ROD_M - across * across);
}

/**
 * The gripper's number in ALOHA's state.
 *
 * @param rad Angle of the gripper's servo, in rad.
 * @returns Linear opening, 0 closed – 1 open, bounded. The linkage's greatest command gives 0.997.
 */
export function gripperRadToState(rad: number): number {
  const state = (gripperRadToLinearM(rad) - LINEAR_MIN) / LINEAR_SPAN;
  return state < 0 ? 0 : state > 1 ? 1 : state;
}

/**
 * Goal_Positions of one arm. Rounding a joint's limit can end one tick beyond the servo's own limit,
 * which would refuse it, so the goals are bounded by the servos' position limits.
 *
 * @param command 14 commands: rad, grippers 0–1. NaN stays NaN.
 * @param arm Which arm.
 * @param out Receives 7 ticks in the order of `GOAL_IDS`.
 */
export function commandToTicks(command: ArrayLike<number>, arm: ArmName, out: Float64Array): void {
  const offset = armOffset(arm);
  for (let i = 0; i < ARM_DIM; i++) {
    const value = command[offset + i];
    const ticks = radToTicks(i < JOINTS_PER_ARM ? value : gripperCommandToRad(value));
    const { minTicks, maxTicks } = GOAL_SERVOS[i];
    out[i] = ticks < minTicks ? minTicks : ticks > maxTicks ? maxTicks : ticks;
  }
}

/**
 * One arm's positions as the commands that would keep it there.
 *
 * @param ticks 7 Present_Positions in the order of `GOAL_IDS`.
 * @param arm Which arm.
 * @param out A vector of 14 whose 7 numbers of that arm are set: rad, gripper 0–1 (not bounded).
 */
export function ticksToCommand(ticks: ArrayLike<number>, arm: ArmName, out: Float64Array): void {
  const offset = armOffset(arm);
  for (let i = 0; i < JOINTS_PER_ARM; i++) out[offset + i] = ticksToRad(ticks[i]);
  out[offset + JOINTS_PER_ARM] = gripperRadToCommand(ticksToRad(ticks[JOINTS_PER_ARM]));
}

/**
 * One arm's positions as ALOHA's state.
 *
 * @param ticks 7 Present_Positions in the order of `GOAL_IDS`.
 * @param arm Which arm.
 * @param out A vector of 14 whose 7 numbers of that arm are set: rad, gripper's linear opening 0–1.
 */
export function ticksToState(
  ticks: ArrayLike<number>,
  arm: ArmName,
  out: Float32Array | Float64Array,
): void {
  const offset = armOffset(arm);
  for (let i = 0; i < JOINTS_PER_ARM; i++) out[offset + i] = ticksToRad(ticks[i]);
  out[offset + JOINTS_PER_ARM] = gripperRadToState(ticksToRad(ticks[JOINTS_PER_ARM]));
}

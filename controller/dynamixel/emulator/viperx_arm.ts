/**
 * The nine servos of a ViperX 300 6DOF follower arm, set up as ALOHA's are: IDs, shadows, drive modes,
 * limits and line rate as Interbotix configures them.
 *
 * @module
 */

import { SERVO_MODELS, TICKS_PER_TURN } from "../control_table.ts";
import { CURRENT_POSITION_MODE, POSITION_MODE } from "./registers.ts";
import type { ServoOptions } from "./servo.ts";

/** ID, model, drive mode, position limits in ticks, position at start in rad, and whose shadow. */
type Row = readonly [
  id: number,
  model: keyof typeof SERVO_MODELS,
  driveMode: 0 | 1,
  limits: readonly [number, number],
  startRad: number,
  secondaryId?: number,
];

const FULL_TURN = [0, 4095] as const;
const SHOULDER = [841, 2867] as const;
const ELBOW = [898, 3094] as const;

/** The arm at rest, as ALOHA's sleep pose has it. */
const ROWS: readonly Row[] = [
  [1, "XM540-W270", 0, FULL_TURN, 0],
  [2, "XM540-W270", 1, SHOULDER, -1.8],
  [3, "XM540-W270", 0, SHOULDER, -1.8, 2],
  [4, "XM540-W270", 1, ELBOW, 1.55],
  [5, "XM540-W270", 0, ELBOW, 1.55, 4],
  [6, "XM540-W270", 0, FULL_TURN, 0],
  [7, "XM540-W270", 1, [830, 3504], -1.57],
  [8, "XM430-W350", 0, FULL_TURN, 0],
  [9, "XM430-W350", 0, FULL_TURN, -0.6213],
];

const GRIPPER_ID = 9;
/** Value of Baud_Rate for 1 Mbit/s. */
const ONE_MEGABIT = 3;
/** The first firmware that knows fast reads. */
const FIRMWARE = 45;
/** Interbotix' limit, about the speed of an XM540-W270 without load. */
const VELOCITY_LIMIT = 131;

/**
 * Servos of an arm at rest in its sleep pose, without torque.
 *
 * @returns Options of nine servos, in the order of their IDs; plain data that a message can carry.
 */
export function viperXServos(): ServoOptions[] {
  return ROWS.map(([id, model, driveMode, [minPositionLimit, maxPositionLimit], rad, shadow]) => {
    const reported = TICKS_PER_TURN / 2 + Math.round((rad * TICKS_PER_TURN) / (2 * Math.PI));
    return {
      model: SERVO_MODELS[model],
      shaftTicks: driveMode === 1 ? TICKS_PER_TURN - reported : reported,
      settings: {
        id,
        driveMode,
        minPositionLimit,
        maxPositionLimit,
        baudRate: ONE_MEGABIT,
        returnDelayTime: 0,
        secondaryId: shadow ?? 255,
        firmwareVersion: FIRMWARE,
        velocityLimit: VELOCITY_LIMIT,
        operatingMode: id === GRIPPER_ID ? CURRENT_POSITION_MODE : POSITION_MODE,
      },
    };
  });
}

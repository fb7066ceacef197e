/**
 * What each of the nine servos of a ViperX 300 6DOF must be: model, shadow, drive mode, operating mode
 * and limits, as Interbotix configures them for ALOHA. The emulator's arm is made from this, too.
 *
 * Sources: IDs, models, shadows, drive modes and limits as Interbotix documents and configures the arm
 * (`vx300s`), items from ROBOTIS' e-manual.
 *
 * @module
 */

import { SERVO_MODELS, type ServoModel, TICKS_PER_TURN } from "../dynamixel/control_table.ts";
import { GOAL_IDS } from "../dynamixel/thread/bus_memory.ts";
import type { MovingName } from "../safety/limits.ts";

/** Operating_Mode of joints: position within one turn. */
export const ARM_OPERATING_MODE = 3;

/** Operating_Mode of the gripper: position with a bound on the current. */
export const GRIPPER_OPERATING_MODE = 5;

/** Velocity_Limit of every servo, in 0.229 rev/min: about an XM540-W270 without load. */
export const LAYOUT_VELOCITY_LIMIT = 131;

/** Return_Delay_Time of every servo, in 2 µs: it answers at once. */
export const LAYOUT_RETURN_DELAY = 0;

/** Baud_Rate of every servo: the code of 1 Mbit/s. */
export const LAYOUT_BAUD_CODE = 3;

/** Secondary_ID of a servo that is nobody's shadow; 253 and above all mean none. */
export const NO_SECONDARY_ID = 255;

/** Homing offsets beyond this, in ticks, count for nothing in position mode (ROBOTIS e-manual). */
export const MAX_HOMING_OFFSET = 1024;

/** What one servo must be. */
export interface ServoLayout {
  /** Its ID. */
  readonly id: number;
  /** The joint that it moves. */
  readonly joint: MovingName;
  /** Its name for people, such as `elbow` or `elbow_shadow`. */
  readonly name: string;
  /** Its model. */
  readonly model: ServoModel;
  /** The servo whose writes it obeys too, which moves the same joint; null for none. */
  readonly shadowOf: number | null;
  /** Drive_Mode: 1 counts and moves the other way round. */
  readonly driveMode: 0 | 1;
  /** Operating_Mode. */
  readonly operatingMode: number;
  /** Min_Position_Limit, in ticks. */
  readonly minTicks: number;
  /** Max_Position_Limit, in ticks. */
  readonly maxTicks: number;
  /** Secondary_ID: `shadowOf`, or {@link NO_SECONDARY_ID}. */
  readonly secondaryId: number;
}

type Row = readonly [
  id: number,
  joint: MovingName,
  model: keyof typeof SERVO_MODELS,
  driveMode: 0 | 1,
  limits: readonly [number, number],
  shadowOf?: number,
];

const FULL_TURN = [0, TICKS_PER_TURN - 1] as const;
const SHOULDER = [841, 2867] as const;
const ELBOW = [898, 3094] as const;

const ROWS: readonly Row[] = [
  [1, "waist", "XM540-W270", 0, FULL_TURN],
  [2, "shoulder", "XM540-W270", 1, SHOULDER],
  [3, "shoulder", "XM540-W270", 0, SHOULDER, 2],
  [4, "elbow", "XM540-W270", 1, ELBOW],
  [5, "elbow", "XM540-W270", 0, ELBOW, 4],
  [6, "forearm_roll", "XM540-W270", 0, FULL_TURN],
  [7, "wrist_angle", "XM540-W270", 1, [830, 3504]],
  [8, "wrist_rotate", "XM430-W350", 0, FULL_TURN],
  [9, "gripper", "XM430-W350", 0, FULL_TURN],
];

/** The nine servos of an arm, in the order of their IDs. */
export const SERVO_LAYOUT: readonly ServoLayout[] = ROWS.map(
  ([id, joint, model, driveMode, [minTicks, maxTicks], shadowOf = null]) => ({
    id,
    joint,
    name: shadowOf === null ? joint : `${joint}_shadow`,
    model: SERVO_MODELS[model],
    shadowOf,
    driveMode,
    operatingMode: joint === "gripper" ? GRIPPER_OPERATING_MODE : ARM_OPERATING_MODE,
    minTicks,
    maxTicks,
    secondaryId: shadowOf ?? NO_SECONDARY_ID,
  }),
);

/** The seven servos that take goals, in the order of `GOAL_IDS` and of an arm's seven numbers. */
export const GOAL_SERVOS: readonly ServoLayout[] = GOAL_IDS.map((id) => layoutOf(id));

/** ID of the gripper's servo. */
export const GRIPPER_ID = 9;

/**
 * What a servo must be.
 *
 * @param id Its ID, 1–9.
 * @returns Its layout.
 * @throws {RangeError} An arm has no such servo.
 */
export function layoutOf(id: number): ServoLayout {
  const layout = SERVO_LAYOUT.find((servo) => servo.id === id);
  if (layout !== undefined) return layout;
  throw new RangeError(`Cannot find servo ${id}: an arm has servos 1 to ${SERVO_LAYOUT.length}`);
}

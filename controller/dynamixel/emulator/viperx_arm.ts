/**
 * The nine servos of a ViperX 300 6DOF follower arm, set up as `arms/servo_layout.ts` wants them.
 *
 * @module
 */

import { ARM_JOINT_NAMES, JOINTS_PER_ARM, SLEEP_POSE_RAD } from "../../../common/robot/aloha.ts";
import {
  GRIPPER_ID,
  LAYOUT_BAUD_CODE,
  LAYOUT_RETURN_DELAY,
  LAYOUT_VELOCITY_LIMIT,
  SERVO_LAYOUT,
} from "../../arms/servo_layout.ts";
import { gripperCommandToRad, radToTicks } from "../../arms/units.ts";
import { TICKS_PER_TURN } from "../control_table.ts";
import type { ServoOptions } from "./servo.ts";

/** The first firmware that knows fast reads. */
const FIRMWARE = 45;

/** An arm at rest, gripper closed. */
const ASLEEP: readonly number[] = [...SLEEP_POSE_RAD, 0];

/**
 * Servos of an arm without torque.
 *
 * @param pose Where it stands `[7]`: rad, gripper 0–1; in its sleep pose, gripper closed, unless told.
 * @returns Options of nine servos, in the order of their IDs; plain data that a message can carry.
 */
export function viperXServos(pose: ArrayLike<number> = ASLEEP): ServoOptions[] {
  return SERVO_LAYOUT.map((layout) => {
    const { id, joint, model, driveMode, minTicks, maxTicks, secondaryId, operatingMode } = layout;
    const rad = id === GRIPPER_ID
      ? gripperCommandToRad(pose[JOINTS_PER_ARM])
      : pose[ARM_JOINT_NAMES.findIndex((name) => name === joint)];
    const reported = radToTicks(rad);
    return {
      model,
      shaftTicks: driveMode === 1 ? TICKS_PER_TURN - reported : reported,
      boltedTo: layout.shadowOf ?? undefined,
      settings: {
        id,
        driveMode,
        minPositionLimit: minTicks,
        maxPositionLimit: maxTicks,
        baudRate: LAYOUT_BAUD_CODE,
        returnDelayTime: LAYOUT_RETURN_DELAY,
        secondaryId,
        firmwareVersion: FIRMWARE,
        velocityLimit: LAYOUT_VELOCITY_LIMIT,
        operatingMode,
      },
    };
  });
}

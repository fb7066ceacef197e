/**
 * The motion thread's status as the rest of the controller reads it.
 *
 * @module
 */

import { ALOHA_DIM, ARM_NAMES, STATE_NAMES } from "../../common/robot/aloha.ts";
import { MAX_STRAIN_MS } from "./arm_watch.ts";
import { HOLD_REASONS, type HoldReason, MOTION_STATUS } from "./motion_memory.ts";

/** Who is to blame for a hold, and by how much. */
export interface Blame {
  /** A number's name, such as left_waist, or an arm's: left or right. */
  readonly culprit: string;
  /** What was measured of it: mA for "over-current", rad for "off track", ms for a silent arm. */
  readonly measured: number;
  /** What is allowed, in the same unit. */
  readonly allowed: number;
}

/** The motion thread at one moment. */
export interface MotionStatus {
  /** Control step that is being executed. */
  readonly step: number;
  /** Number of the newest plan that the thread has seen and not forgotten; 0: none. */
  readonly planId: number;
  /** Control step at which that plan began, or will. */
  readonly planFirstStep: number;
  /** Control steps of that plan that are still to come, the present one not counted. */
  readonly stepsLeft: number;
  /** Why the pose is held; "none" while a plan is executed. */
  readonly hold: HoldReason;
  /** Restarts done. */
  readonly restarts: number;
  /** Who is to blame for the hold; null for reasons that are nobody's fault. */
  readonly blame: Blame | null;
  /** Cycles that ran. */
  readonly cycles: number;
  /** Cycles that were skipped because the thread woke too late. */
  readonly missed: number;
  /** Records that were dropped because nobody took them. */
  readonly droppedRecords: number;
  /** The last command `[14]`: rad, grippers 0–1; NaN before the first restart. */
  readonly command: Float64Array;
  /** Whether that command stands still. */
  readonly isStill: boolean;
}

/**
 * Read a status from the numbers that the thread publishes.
 *
 * @param values `[MOTION_STATUS.length]`.
 * @returns A copy with names.
 * @throws {RangeError} The hold's index is none of `HOLD_REASONS`.
 */
export function readMotionStatus(values: Float64Array): MotionStatus {
  const hold = HOLD_REASONS[values[MOTION_STATUS.hold]];
  if (hold === undefined) {
    throw new RangeError(
      `Cannot read the motion thread's status: hold is ${values[MOTION_STATUS.hold]}, expected ` +
        `an index below ${HOLD_REASONS.length}`,
    );
  }
  const culprit = values[MOTION_STATUS.culprit];
  const isArm = hold === "arm silent" || hold === "not started";
  return {
    step: values[MOTION_STATUS.step],
    planId: values[MOTION_STATUS.planId],
    planFirstStep: values[MOTION_STATUS.planFirstStep],
    stepsLeft: values[MOTION_STATUS.stepsLeft],
    hold,
    restarts: values[MOTION_STATUS.restarts],
    blame: culprit < 0 ? null : {
      culprit: (isArm ? ARM_NAMES : STATE_NAMES)[culprit],
      measured: values[MOTION_STATUS.measured],
      allowed: values[MOTION_STATUS.allowed],
    },
    cycles: values[MOTION_STATUS.cycles],
    missed: values[MOTION_STATUS.missed],
    droppedRecords: values[MOTION_STATUS.droppedRecords],
    command: values.slice(MOTION_STATUS.command, MOTION_STATUS.command + ALOHA_DIM),
    isStill: values[MOTION_STATUS.isStill] === 1,
  };
}

/**
 * Say why the pose is held.
 *
 * @param status Status of the motion thread.
 * @returns A clause such as "left_waist draws 2500 mA for more than 0.5 s, its limit is 2200 mA".
 */
export function describeHold({ hold, blame }: MotionStatus): string {
  if (blame !== null) {
    const { culprit, measured, allowed } = blame;
    switch (hold) {
      case "over-current":
        return `${culprit} draws ${measured.toFixed(0)} mA for more than ${
          MAX_STRAIN_MS / 1000
        } s, ` +
          `its limit is ${allowed.toFixed(0)} mA`;
      case "off track":
        return `${culprit} is ${measured.toFixed(2)} rad from its command for more than ` +
          `${MAX_STRAIN_MS / 1000} s, ${allowed} rad are allowed`;
      case "arm silent":
      case "not started":
        return measured === Infinity
          ? `a servo of the ${culprit} arm has never been heard`
          : `a servo of the ${culprit} arm has been silent for ${measured.toFixed(0)} ms, ` +
            `${allowed.toFixed(0)} ms are allowed`;
    }
  }
  switch (hold) {
    case "none":
      return "a plan is being executed";
    case "not started":
      return "no restart has been done since the start or since the emergency stop was released";
    case "emergency stop":
      return "an emergency stop is in force";
    case "main thread silent":
      return "the controller's main thread has not shown that it is alive";
    case "ordered":
      return "a hold has been ordered";
    case "no plan":
      return "there is no plan, or it has ended";
    default:
      return hold;
  }
}

/**
 * Conservative limits of a ViperX 300 6DOF on ALOHA's table, and the bounds that nothing widens.
 *
 * Where the numbers come from:
 * - Position: Menagerie's ranges (`JOINT_RANGES_RAD`) less 0.04 rad. ALOHA's servos have almost the
 *   same ranges in ticks (elbow 3094 ticks is 1.6045 rad, 1 mrad less), and the sleep pose, 0.05 rad
 *   from the shoulder's end, stays inside.
 * - Velocity: the servos' Velocity_Limit is 131 × 0.229 rev/min = 30.0 rev/min = 3.1416 rad/s. Waist,
 *   shoulder and elbow carry the arm and get 60 % of it, the forearm and the wrist 80 %.
 * - Acceleration: stretched out, the arm has about 1.0 kg·m² about the shoulder (Menagerie's masses
 *   and armature) and weighs 11 N·m there; two XM540-W270 stall at 2 × 10.6 N·m at 12 V (ROBOTIS
 *   e-manual), which leaves 10 rad/s² for a moment. Shoulder 6, waist and elbow 8 rad/s². The forearm
 *   and the wrist carry a tenth of that inertia: 15 and 20 rad/s².
 * - Step: what the joint's velocity makes of the longest cycle that counts, 30 ms.
 * - Current: half of the stall current at 12 V (ROBOTIS e-manual: XM540-W270 4.4 A, XM430-W350
 *   2.3 A); the gripper 0.8 A, as it closes on things and then holds them for long.
 * - Gripper: its servo turns 2.11 rad from closed to open, so Velocity_Limit is 1.49 openings/s.
 *
 * @module
 */

import {
  ARM_JOINT_NAMES,
  type ArmJointName,
  GRIPPER_RANGE,
  JOINT_RANGES_RAD,
} from "../../common/robot/aloha.ts";
import type { ArmLimits, JointLimits, MovingName, SafetyLimits } from "./limits.ts";

/** Servos' Velocity_Limit, in its unit of 0.229 rev/min (ROBOTIS e-manual). */
const VELOCITY_LIMIT_UNITS = 131;

/** The same in rad/s: 3.1416. */
export const SERVO_VELOCITY_RAD_S: number = VELOCITY_LIMIT_UNITS * 0.229 * 2 * Math.PI / 60;

/** Distance of the default positions from the mechanical ranges, in rad. */
export const POSITION_MARGIN_RAD = 0.04;

/** Longest cycle that counts by default: one and a half of ALOHA's 20 ms, in s. */
const MAX_CYCLE_S = 0.03;

/** Of each joint: share of the servo's velocity (0–1), acceleration (rad/s²) and current (mA). */
const JOINTS: Readonly<Record<ArmJointName, readonly [number, number, number]>> = {
  waist: [0.6, 8, 2200],
  shoulder: [0.6, 6, 2200],
  elbow: [0.6, 8, 2200],
  forearm_roll: [0.8, 15, 2200],
  wrist_angle: [0.8, 15, 2200],
  wrist_rotate: [0.8, 20, 1150],
};

function jointDefaults(joint: ArmJointName): JointLimits {
  const { min, max } = JOINT_RANGES_RAD[ARM_JOINT_NAMES.indexOf(joint)];
  const [share, acceleration, currentMa] = JOINTS[joint];
  const velocity = share * SERVO_VELOCITY_RAD_S;
  return {
    positionMin: min + POSITION_MARGIN_RAD,
    positionMax: max - POSITION_MARGIN_RAD,
    velocity,
    acceleration,
    step: velocity * MAX_CYCLE_S,
    currentMa,
  };
}

const GRIPPER: JointLimits = {
  positionMin: GRIPPER_RANGE.min,
  positionMax: GRIPPER_RANGE.max,
  velocity: 1.4,
  acceleration: 14,
  step: 1.4 * MAX_CYCLE_S,
  currentMa: 800,
};

const ARM: ArmLimits = {
  waist: jointDefaults("waist"),
  shoulder: jointDefaults("shoulder"),
  elbow: jointDefaults("elbow"),
  forearm_roll: jointDefaults("forearm_roll"),
  wrist_angle: jointDefaults("wrist_angle"),
  wrist_rotate: jointDefaults("wrist_rotate"),
  gripper: GRIPPER,
};

/**
 * The limits in force when nobody asks for others.
 *
 * Clearances: 2 cm covers the bending of the arm and what the capsules leave out (cables); fingers
 * may come as near to the table as ALOHA's tasks need. Two grippers that hold one thing crosswise
 * bring their fingers so near that the capsules, up to 7.6 mm thicker than the fingers, overlap by
 * 4 mm (`transfer_cube`, as demonstrated); 6 mm are allowed, at which flat fingers are 9 mm apart.
 */
export const DEFAULT_LIMITS: SafetyLimits = {
  arms: { left: ARM, right: ARM },
  workspace: {
    tableHeightM: 0,
    tableClearanceM: 0.02,
    fingerTableClearanceM: 0.005,
    armClearanceM: 0.02,
    fingerClearanceM: -0.006,
    selfClearanceM: 0.005,
  },
  maxCycleS: MAX_CYCLE_S,
  acknowledgedWidenings: [],
};

function hardJoint(joint: ArmJointName): JointLimits {
  const { min, max } = JOINT_RANGES_RAD[ARM_JOINT_NAMES.indexOf(joint)];
  const stallMa = joint === "wrist_rotate" ? 2300 : 4400;
  return {
    positionMin: min,
    positionMax: max,
    velocity: SERVO_VELOCITY_RAD_S,
    acceleration: 60,
    step: 0.2,
    currentMa: stallMa,
  };
}

/** What no file can widen: mechanical ranges, the servos' own speed and stall current. */
export const HARD_LIMITS: {
  /** Widest limits of each joint. */
  readonly joints: Readonly<Record<MovingName, JointLimits>>;
  /** Smallest usable acceleration: a joint that brakes more gently needs seconds to stop. */
  readonly leastAcceleration: number;
  /** Range of every clearance, in metres. */
  readonly clearanceM: { readonly min: number; readonly max: number };
  /** Range of the clearance of two arms' fingers, in metres; their capsules may overlap. */
  readonly fingerClearanceM: { readonly min: number; readonly max: number };
  /** Range of the table's height, in metres. */
  readonly tableHeightM: { readonly min: number; readonly max: number };
  /** Range of the longest cycle that counts, in seconds. */
  readonly maxCycleS: { readonly min: number; readonly max: number };
} = {
  joints: {
    waist: hardJoint("waist"),
    shoulder: hardJoint("shoulder"),
    elbow: hardJoint("elbow"),
    forearm_roll: hardJoint("forearm_roll"),
    wrist_angle: hardJoint("wrist_angle"),
    wrist_rotate: hardJoint("wrist_rotate"),
    gripper: {
      positionMin: GRIPPER_RANGE.min,
      positionMax: GRIPPER_RANGE.max,
      velocity: 1.49,
      acceleration: 60,
      step: 0.2,
      currentMa: 2300,
    },
  },
  leastAcceleration: 0.5,
  clearanceM: { min: 0, max: 0.3 },
  fingerClearanceM: { min: -0.0075, max: 0.3 },
  tableHeightM: { min: -0.05, max: 0.2 },
  maxCycleS: { min: 0.002, max: 0.1 },
};

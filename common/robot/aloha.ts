/**
 * ALOHA's conventions: two ViperX 300 6DOF follower arms, their order, units and limits.
 *
 * A state or an action is 14 numbers: left waist, shoulder, elbow, forearm_roll, wrist_angle,
 * wrist_rotate (rad), left gripper (0 closed – 1 open), and the same seven for the right arm.
 * Actions are absolute targets: a zero action is a pose far from rest, not "stay".
 *
 * Sources: joint order, poses and gripper constants from tonyzhaozh/aloha
 * (`aloha_scripts/constants.py`); joint ranges from google-deepmind/mujoco_menagerie
 * (`aloha/aloha.xml`).
 *
 * @module
 */

/** The arms in the order of the 14 numbers. */
export const ARM_NAMES = ["left", "right"] as const;

/** One of {@link ARM_NAMES}. */
export type ArmName = (typeof ARM_NAMES)[number];

/** The six revolute joints of an arm, from the base to the gripper. */
export const ARM_JOINT_NAMES = [
  "waist",
  "shoulder",
  "elbow",
  "forearm_roll",
  "wrist_angle",
  "wrist_rotate",
] as const;

/** One of {@link ARM_JOINT_NAMES}. */
export type ArmJointName = (typeof ARM_JOINT_NAMES)[number];

/** Revolute joints an arm. */
export const JOINTS_PER_ARM = 6;

/** Numbers an arm: six joints and the gripper. */
export const ARM_DIM = 7;

/** Numbers in a state or an action of the whole robot. */
export const ALOHA_DIM = 14;

/** Control steps a second. */
export const CONTROL_RATE_HZ = 50;

/** Duration of one control step, in milliseconds. */
export const CONTROL_PERIOD_MS = 1000 / CONTROL_RATE_HZ;

/** A closed interval. */
export interface Range {
  /** Smallest allowed value. */
  readonly min: number;
  /** Largest allowed value. */
  readonly max: number;
}

/** Ranges of the six joints of either arm, in rad. */
export const JOINT_RANGES_RAD: readonly Range[] = [
  { min: -3.14158, max: 3.14158 },
  { min: -1.85005, max: 1.25664 },
  { min: -1.76278, max: 1.6057 },
  { min: -3.14158, max: 3.14158 },
  { min: -1.8675, max: 2.23402 },
  { min: -3.14158, max: 3.14158 },
];

/** Range of a normalised gripper number: 0 closed, 1 open. */
export const GRIPPER_RANGE: Range = { min: 0, max: 1 };

/** Linear opening of the real follower gripper, in metres: `min` closed, `max` open. */
export const FOLLOWER_GRIPPER_LINEAR_M: Range = { min: 0.01844, max: 0.058 };

/** Angle of the real follower gripper's servo, in rad: `min` closed, `max` open. */
export const FOLLOWER_GRIPPER_JOINT_RAD: Range = { min: -0.6213, max: 1.491 };

/** Pose of either arm at the start of an episode, in rad. */
export const RESET_POSE_RAD: readonly number[] = [0, -0.96, 1.16, 0, -0.3, 0];

/** Pose in which either arm rests when torque goes off, in rad. */
export const SLEEP_POSE_RAD: readonly number[] = [0, -1.8, 1.55, 0, -1.57, 0];

/** Names of the 14 numbers, such as `left_waist` and `right_gripper`. */
export const STATE_NAMES: readonly string[] = ARM_NAMES.flatMap((arm) => [
  ...ARM_JOINT_NAMES.map((joint) => `${arm}_${joint}`),
  `${arm}_gripper`,
]);

/** Ranges of the 14 numbers, in the order of {@link STATE_NAMES}. */
export const ACTION_RANGES: readonly Range[] = ARM_NAMES.flatMap(() => [
  ...JOINT_RANGES_RAD,
  GRIPPER_RANGE,
]);

/**
 * Index of an arm's first number in a state or an action.
 *
 * @param arm Which arm.
 * @returns 0 for the left arm, 7 for the right one.
 */
export function armOffset(arm: ArmName): number {
  return arm === "left" ? 0 : ARM_DIM;
}

/**
 * Both arms at the reset pose.
 *
 * @param gripper Opening of both grippers, 0 (closed) – 1 (open).
 * @returns A fresh state of {@link ALOHA_DIM} numbers.
 */
export function resetState(gripper: number = 0): Float32Array {
  return Float32Array.from(ARM_NAMES.flatMap(() => [...RESET_POSE_RAD, gripper]));
}

/**
 * Check that an action can be commanded at all. Values out of range pass: see {@link clipAction}.
 *
 * @param action Absolute targets: rad, gripper 0–1.
 * @param dim How many numbers are expected: 7 (left arm) or 14.
 * @throws {RangeError} The length is wrong or a number is not finite.
 */
export function checkAction(action: ArrayLike<number>, dim: number = ALOHA_DIM): void {
  if (action.length !== dim) {
    throw new RangeError(
      `Cannot apply action: it has ${action.length} numbers, expected ${dim} ` +
        `(per arm 6 joints in rad and the gripper 0–1)`,
    );
  }
  for (let i = 0; i < dim; i++) {
    if (!Number.isFinite(action[i])) {
      throw new RangeError(
        `Cannot apply action: ${STATE_NAMES[i]} is ${action[i]}, expected a number in ` +
          `[${ACTION_RANGES[i].min}, ${ACTION_RANGES[i].max}]`,
      );
    }
  }
}

/**
 * Copy an action into the joint ranges.
 *
 * @param action Absolute targets: rad, gripper 0–1; 7 (left arm) or 14 numbers.
 * @param out Receives the clipped numbers; at least as long. May be `action` itself.
 * @returns How many numbers had to be clipped.
 */
export function clipAction(
  action: ArrayLike<number>,
  out: Float32Array | Float64Array,
): number {
  let clips = 0;
  for (let i = 0; i < action.length; i++) {
    const { min, max } = ACTION_RANGES[i];
    const value = action[i];
    // Float32 rounds a limit up to 1e-7 rad outwards: that alone is no clip.
    if (value < min - 1e-6 || value > max + 1e-6) clips++;
    out[i] = value < min ? min : value > max ? max : value;
  }
  return clips;
}

/**
 * Between ALOHA's convention and the one that openpi's base models were trained in (its
 * `adapt_to_pi`): other signs of shoulder and elbow, and grippers as angles of the servo's horn.
 *
 * States and actions differ, as they do in openpi: a state's gripper is the normalised *opening* of
 * the fingers, a commanded one is normalised over the *angle* of the servo. So an action brought
 * over and back is itself, but a state brought over and commanded back is not, in the grippers.
 *
 * Source: openpi `policies/aloha_policy.py` (`_decode_state`, `_encode_actions`,
 * `_encode_actions_inv`), whose constants come from tonyzhaozh/aloha and Interbotix.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_DIM,
  FOLLOWER_GRIPPER_JOINT_RAD,
  FOLLOWER_GRIPPER_LINEAR_M,
  type Range,
} from "./aloha.ts";

/** Signs of one arm's numbers: waist, shoulder, elbow, forearm_roll, wrist_angle, wrist_rotate, gripper. */
const SIGNS = [1, -1, -1, 1, 1, 1, 1] as const;

/** Gripper angles that openpi normalises over, in rad: encoder counts 2405 and 3110 of 4096, zero 2048. */
const PI_GRIPPER_RAD: Range = { min: 0.5476, max: 1.6296 };

/** Length of the gripper's connecting rod, in metres (Interbotix). */
const ROD_M = 0.036;
/** Radius of the gripper servo's horn, in metres (Interbotix). */
const HORN_M = 0.022;

const normalize = (x: number, { min, max }: Range) => (x - min) / (max - min);
const unnormalize = (x: number, { min, max }: Range) => x * (max - min) + min;

/** Normalised opening of the fingers → openpi's normalised angle: 0 … 1 becomes −1.08 … 0.946. */
function openingToPi(opening: number): number {
  const linearM = unnormalize(opening, FOLLOWER_GRIPPER_LINEAR_M);
  const sine = (HORN_M ** 2 + linearM ** 2 - ROD_M ** 2) / (2 * HORN_M * linearM);
  return normalize(Math.asin(Math.min(1, Math.max(-1, sine))), PI_GRIPPER_RAD);
}

/** openpi's commanded angle, in rad above its closed one → normalised angle of the servo. */
function commandFromPi(value: number): number {
  return normalize(value + PI_GRIPPER_RAD.min, FOLLOWER_GRIPPER_JOINT_RAD);
}

/** Inverse of {@link commandFromPi}. */
function commandToPi(command: number): number {
  return unnormalize(command, FOLLOWER_GRIPPER_JOINT_RAD) - PI_GRIPPER_RAD.min;
}

/** Every row of 14 numbers with its signs turned and its grippers mapped. */
function convert(rows: ArrayLike<number>, gripper: (x: number) => number): Float32Array {
  if (rows.length % ALOHA_DIM !== 0) {
    throw new RangeError(
      `Cannot convert between ALOHA's and pi's convention: ${rows.length} numbers are not rows of ` +
        `${ALOHA_DIM}`,
    );
  }
  return Float32Array.from(rows, (x, i) => {
    const joint = i % ARM_DIM;
    return joint === ARM_DIM - 1 ? gripper(x) : SIGNS[joint] * x;
  });
}

/**
 * States as openpi's base models see them.
 * @param states `[N, 14]` ALOHA's: rad, gripper opening 0 (closed) – 1 (open).
 * @returns `[N, 14]`.
 * @throws {RangeError} The numbers are not rows of 14.
 */
export function stateToPi(states: ArrayLike<number>): Float32Array {
  return convert(states, openingToPi);
}

/**
 * What openpi's base models command, as ALOHA's targets.
 * @param actions `[N, 14]` absolute targets in pi's convention.
 * @returns `[N, 14]` rad, gripper 0 (closed) – 1 (open) over the servo's angle.
 * @throws {RangeError} The numbers are not rows of 14.
 */
export function actionsFromPi(actions: ArrayLike<number>): Float32Array {
  return convert(actions, commandFromPi);
}

/**
 * ALOHA's targets as openpi's base models would command them: the inverse of {@link actionsFromPi}.
 * @param actions `[N, 14]` absolute targets: rad, gripper 0–1.
 * @returns `[N, 14]`.
 * @throws {RangeError} The numbers are not rows of 14.
 */
export function actionsToPi(actions: ArrayLike<number>): Float32Array {
  return convert(actions, commandToPi);
}

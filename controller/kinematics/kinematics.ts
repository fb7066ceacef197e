/**
 * Forward kinematics and Jacobian of one arm, from the constants of `arm_geometry.ts`.
 *
 * @module
 */

import { type ArmName, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { BASE_POSES, LINKS, PINCH_OFFSET } from "./arm_geometry.ts";

/** Where the gripper is. Buffers may be reused from call to call. */
export interface GripperPose {
  /** The pinch point in the world `[3]`, in metres. */
  readonly position: Float64Array;
  /**
   * Orientation `[3, 3]`, row-major, gripper to world. Column 0 is the direction in which the fingers
   * point, column 1 that in which they open, column 2 the back of the gripper (camera side).
   */
  readonly rotation: Float64Array;
  /** Joint axes in the world `[6, 3]`. */
  readonly jointAxes: Float64Array;
  /** Joint positions in the world `[6, 3]`, in metres. */
  readonly jointPositions: Float64Array;
  /** Orientations of the links that the joints carry `[6, 3, 3]`, row-major, link to world. */
  readonly linkRotations: Float64Array;
}

/** A blank pose to pass to {@link forwardKinematics}. */
export function createGripperPose(): GripperPose {
  return {
    position: new Float64Array(3),
    rotation: new Float64Array(9),
    jointAxes: new Float64Array(3 * JOINTS_PER_ARM),
    jointPositions: new Float64Array(3 * JOINTS_PER_ARM),
    linkRotations: new Float64Array(9 * JOINTS_PER_ARM),
  };
}

/**
 * Where joint angles put the gripper.
 *
 * @param arm Which arm; they differ in their base alone.
 * @param joints At least six angles, in rad, from the waist to wrist_rotate.
 * @param out Receives the pose.
 * @returns `out`.
 */
export function forwardKinematics(
  arm: ArmName,
  joints: ArrayLike<number>,
  out: GripperPose = createGripperPose(),
): GripperPose {
  const { position: p, rotation: r, jointAxes, jointPositions, linkRotations } = out;
  const base = BASE_POSES[arm];
  p.set(base.position);
  r.set([1, 0, 0, 0, 1, 0, 0, 0, 1]);
  rotate(r, 2, base.yawRad);
  for (let i = 0; i < JOINTS_PER_ARM; i++) {
    const { offset, axis } = LINKS[i];
    translate(p, r, offset);
    for (let k = 0; k < 3; k++) {
      jointPositions[3 * i + k] = p[k];
      jointAxes[3 * i + k] = r[3 * k + axis];
    }
    rotate(r, axis, joints[i]);
    linkRotations.set(r, 9 * i);
  }
  translate(p, r, PINCH_OFFSET);
  return out;
}

/** Move a point along a frame's axes: p += r · offset. */
function translate(p: Float64Array, r: Float64Array, offset: ArrayLike<number>): void {
  for (let k = 0; k < 3; k++) {
    p[k] += r[3 * k] * offset[0] + r[3 * k + 1] * offset[1] + r[3 * k + 2] * offset[2];
  }
}

/** Turn a frame about one of its own axes: r = r · R(axis, angle). */
function rotate(r: Float64Array, axis: 0 | 1 | 2, angle: number): void {
  const cos = Math.cos(angle), sin = Math.sin(angle);
  const u = (axis + 1) % 3, v = (axis + 2) % 3;
  for (let k = 0; k < 3; k++) {
    const a = r[3 * k + u], b = r[3 * k + v];
    r[3 * k + u] = a * cos + b * sin;
    r[3 * k + v] = b * cos - a * sin;
  }
}

/**
 * Inverse kinematics of one arm by damped least squares.
 *
 * Each iteration solves (J·Jᵀ + λ²·I)·y = e and moves the joints by Jᵀ·y, clipped to their ranges.
 * The error e is the pinch point's distance to its goal and, when asked, the angle between the
 * gripper's axes and theirs. Damping keeps steps small near singular poses (Nakamura and Hanafusa,
 * "Inverse kinematic solutions with singularity robustness", 1986).
 *
 * @module
 */

import { Matrix, solve } from "ml-matrix";
import { type ArmName, JOINT_RANGES_RAD, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import type { Vec3 } from "./arm_geometry.ts";
import { createGripperPose, forwardKinematics } from "./kinematics.ts";

/** Where the gripper should go. */
export interface IkGoal {
  /** Goal of the pinch point in the world, in metres. */
  readonly position: Vec3;
  /** Unit direction in which the fingers should point; free when left out. */
  readonly approach?: Vec3;
  /** Unit direction along which the fingers should open, either way; needs `approach`. */
  readonly opening?: Vec3;
}

/** How hard to try. */
export interface IkOptions {
  /** Iterations at most. Default 200. */
  readonly maxIterations?: number;
  /** Damping λ, in metres. Default 0.05. */
  readonly damping?: number;
  /** Position error at which to stop, in metres. Default 1e-4. */
  readonly toleranceM?: number;
  /** Orientation error at which to stop, in rad. Default 1e-3. */
  readonly toleranceRad?: number;
}

/** What was found. */
export interface IkSolution {
  /** Six joint angles within their ranges, in rad. */
  readonly joints: Float64Array;
  /** Distance that is left to the goal, in metres. */
  readonly positionErrorM: number;
  /** Angle that is left to the wanted orientation, in rad (0 when it was free). */
  readonly orientationErrorRad: number;
  /** Both errors are within their tolerances. */
  readonly isReached: boolean;
}

/** Weighs a radian of orientation error as this many metres of position error. */
const METRES_PER_RADIAN = 0.3;

/** Largest change of a joint in one iteration, in rad. */
const MAX_STEP_RAD = 0.3;

/**
 * Find joint angles that put the gripper where it should be, near those it has.
 *
 * @param arm Which arm.
 * @param goal Where the gripper should go.
 * @param start Six angles to start from, in rad. The solution's elbow and wrist stay on its side.
 * @param options How hard to try.
 * @returns The best angles found; check `isReached`.
 * @throws {RangeError} A goal's number is not finite.
 */
export function solveIk(
  arm: ArmName,
  goal: IkGoal,
  start: ArrayLike<number>,
  options: IkOptions = {},
): IkSolution {
  const { maxIterations = 200, damping = 0.05, toleranceM = 1e-4, toleranceRad = 1e-3 } = options;
  const numbers = [...goal.position, ...(goal.approach ?? []), ...(goal.opening ?? [])];
  if (!numbers.every(Number.isFinite)) {
    throw new RangeError(`Cannot solve for the gripper: the goal has ${numbers}, expected numbers`);
  }
  const rows = goal.approach === undefined ? 3 : 6;
  const pose = createGripperPose();
  const joints = new Float64Array(JOINTS_PER_ARM);
  for (let i = 0; i < JOINTS_PER_ARM; i++) joints[i] = clampJoint(i, start[i]);
  const error = new Float64Array(6);
  let positionErrorM = Infinity, orientationErrorRad = Infinity;
  for (let iteration = 0; iteration <= maxIterations; iteration++) {
    forwardKinematics(arm, joints, pose);
    for (let k = 0; k < 3; k++) error[k] = goal.position[k] - pose.position[k];
    positionErrorM = Math.hypot(error[0], error[1], error[2]);
    orientationErrorRad = orientationError(goal, pose.rotation, error);
    const isReached = positionErrorM <= toleranceM && orientationErrorRad <= toleranceRad;
    if (isReached || iteration === maxIterations) break;

    const jacobian = Matrix.zeros(rows, JOINTS_PER_ARM);
    for (let j = 0; j < JOINTS_PER_ARM; j++) fillColumn(jacobian, j, pose);
    const system = jacobian.mmul(jacobian.transpose());
    for (let k = 0; k < rows; k++) system.set(k, k, system.get(k, k) + damping * damping);
    const weighted = Array.from(
      error.subarray(0, rows),
      (e, k) => k < 3 ? e : e * METRES_PER_RADIAN,
    );
    const y = solve(system, Matrix.columnVector(weighted));
    const step = jacobian.transpose().mmul(y).to1DArray();
    const scale = Math.min(1, MAX_STEP_RAD / Math.max(...step.map(Math.abs)));
    for (let j = 0; j < JOINTS_PER_ARM; j++) joints[j] = clampJoint(j, joints[j] + scale * step[j]);
  }
  return {
    joints,
    positionErrorM,
    orientationErrorRad,
    isReached: positionErrorM <= toleranceM && orientationErrorRad <= toleranceRad,
  };
}

/** Column of the geometric Jacobian: a joint moves the pinch point by axis × lever. */
function fillColumn(
  jacobian: Matrix,
  joint: number,
  pose: ReturnType<typeof createGripperPose>,
): void {
  const { position: p, jointAxes: a, jointPositions: o } = pose;
  const at = 3 * joint;
  const ax = a[at], ay = a[at + 1], az = a[at + 2];
  const lx = p[0] - o[at], ly = p[1] - o[at + 1], lz = p[2] - o[at + 2];
  jacobian.set(0, joint, ay * lz - az * ly);
  jacobian.set(1, joint, az * lx - ax * lz);
  jacobian.set(2, joint, ax * ly - ay * lx);
  if (jacobian.rows === 6) {
    for (let k = 0; k < 3; k++) jacobian.set(3 + k, joint, METRES_PER_RADIAN * a[at + k]);
  }
}

/** Write the rotation still to make (axis times sine) to `error[3..5]`; return its angle. */
function orientationError(goal: IkGoal, rotation: Float64Array, error: Float64Array): number {
  error.fill(0, 3);
  if (goal.approach === undefined) return 0;
  const approachAngle = addTurn(rotation, 0, goal.approach, 1, error);
  if (goal.opening === undefined) return approachAngle;
  const [x, y, z] = goal.opening;
  const along = rotation[1] * x + rotation[4] * y + rotation[7] * z;
  // The gripper is symmetric: opening along −opening is as good.
  return Math.max(approachAngle, addTurn(rotation, 1, goal.opening, along < 0 ? -1 : 1, error));
}

/** Add the turn that brings a column of the rotation onto ±wanted; return the angle. */
function addTurn(
  rotation: Float64Array,
  column: number,
  wanted: Vec3,
  sign: 1 | -1,
  error: Float64Array,
): number {
  const x = rotation[column], y = rotation[3 + column], z = rotation[6 + column];
  const wx = sign * wanted[0], wy = sign * wanted[1], wz = sign * wanted[2];
  const cx = y * wz - z * wy, cy = z * wx - x * wz, cz = x * wy - y * wx;
  error[3] += cx;
  error[4] += cy;
  error[5] += cz;
  return Math.atan2(Math.hypot(cx, cy, cz), x * wx + y * wy + z * wz);
}

function clampJoint(joint: number, angle: number): number {
  const { min, max } = JOINT_RANGES_RAD[joint];
  return Math.min(max, Math.max(min, angle));
}

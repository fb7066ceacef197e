/**
 * Inverse kinematics of one arm by damped least squares.
 *
 * Each iteration solves (J·Jᵀ + λ²·I)·y = e and moves the joints by Jᵀ·y, clipped to their ranges.
 * The error e is the pinch point's distance to its goal and, when asked, the turn that brings the
 * gripper's axes onto theirs. Damping λ keeps steps small near singular poses (Nakamura and Hanafusa,
 * "Inverse kinematic solutions with singularity robustness", 1986); it shrinks with the squared error
 * (Sugihara, "Solvability-unconcerned inverse kinematics by the Levenberg–Marquardt method", 2011), or
 * goals next to a singular pose, such as a straight wrist, would be approached ever more slowly.
 *
 * @module
 */

import { Matrix, solve } from "ml-matrix";
import { type ArmName, JOINT_RANGES_RAD, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import type { Vec3 } from "../kinematics/arm_geometry.ts";
import { forwardKinematics, type GripperPose } from "../kinematics/kinematics.ts";

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
  /** Largest damping λ, in metres. Default 0.05. */
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

/** Smallest λ², in m²: keeps the system solvable at a singular pose. */
const MIN_DAMPING2 = 1e-6;

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
 * @throws {RangeError} A goal's number is not finite, or it has an opening without an approach.
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
  if (goal.opening !== undefined && goal.approach === undefined) {
    throw new RangeError("Cannot solve for the gripper: an opening direction needs an approach");
  }
  let now = measure(arm, goal, Array.from({ length: JOINTS_PER_ARM }, (_, j) => start[j]));
  const isReached = () =>
    now.positionErrorM <= toleranceM && now.orientationErrorRad <= toleranceRad;
  for (let i = 0; i < maxIterations && !isReached(); i++) {
    const squaredError = now.error.reduce((sum, e) => sum + e * e, 0);
    const lambda2 = Math.min(damping * damping, squaredError / 2 + MIN_DAMPING2);
    now = measure(arm, goal, stepFrom(now, lambda2));
  }
  const { joints, positionErrorM, orientationErrorRad } = now;
  return { joints, positionErrorM, orientationErrorRad, isReached: isReached() };
}

/** Joint angles and how far they are from the goal. */
interface Estimate {
  readonly joints: Float64Array;
  readonly pose: GripperPose;
  /** Position error in metres, then (when asked) turn times `METRES_PER_RADIAN`. */
  readonly error: readonly number[];
  readonly positionErrorM: number;
  readonly orientationErrorRad: number;
}

function measure(arm: ArmName, goal: IkGoal, angles: readonly number[]): Estimate {
  const joints = Float64Array.from(angles, (angle, j) => {
    const { min, max } = JOINT_RANGES_RAD[j];
    return Math.min(max, Math.max(min, angle));
  });
  const pose = forwardKinematics(arm, joints);
  const error = [0, 1, 2].map((k) => goal.position[k] - pose.position[k]);
  const positionErrorM = Math.hypot(...error);
  let orientationErrorRad = 0;
  if (goal.approach !== undefined) {
    const turn = [0, 0, 0];
    const [x, y, z] = goal.approach;
    orientationErrorRad = addTurn(pose.rotation, 0, goal.approach, turn);
    if (goal.opening !== undefined) {
      const r = pose.rotation;
      const along = r[1] * goal.opening[0] + r[4] * goal.opening[1] + r[7] * goal.opening[2];
      // The gripper is symmetric: opening along −opening is as good.
      const [u, v, w] = along < 0 ? goal.opening.map((o) => -o) : goal.opening;
      const openingError = addTurn(pose.rotation, 1, [u, v, w], turn);
      addTurn(pose.rotation, 2, [y * w - z * v, z * u - x * w, x * v - y * u], turn);
      orientationErrorRad = Math.max(orientationErrorRad, openingError);
      // Each turn moves two of the three axes, so their sum counts it twice.
      for (let k = 0; k < 3; k++) turn[k] /= 2;
    }
    error.push(...turn.map((t) => METRES_PER_RADIAN * t));
  }
  return { joints, pose, error, positionErrorM, orientationErrorRad };
}

/** One damped least-squares step. */
function stepFrom({ joints, pose, error }: Estimate, lambda2: number): number[] {
  const rows = error.length;
  const jacobian = Matrix.zeros(rows, JOINTS_PER_ARM);
  for (let j = 0; j < JOINTS_PER_ARM; j++) fillColumn(jacobian, j, pose);
  const system = jacobian.mmul(jacobian.transpose());
  for (let k = 0; k < rows; k++) system.set(k, k, system.get(k, k) + lambda2);
  const step = jacobian.transpose().mmul(solve(system, Matrix.columnVector(error))).to1DArray();
  const scale = Math.min(1, MAX_STEP_RAD / Math.max(...step.map(Math.abs)));
  return step.map((change, j) => joints[j] + scale * change);
}

/** Column of the geometric Jacobian: a joint moves the pinch point by axis × lever. */
function fillColumn(
  jacobian: Matrix,
  joint: number,
  pose: GripperPose,
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

/** Add the turn (axis times sine) that brings a column of the rotation onto `wanted`; its angle. */
function addTurn(rotation: Float64Array, column: number, wanted: Vec3, turn: number[]): number {
  const x = rotation[column], y = rotation[3 + column], z = rotation[6 + column];
  const [wx, wy, wz] = wanted;
  const cx = y * wz - z * wy, cy = z * wx - x * wz, cz = x * wy - y * wx;
  turn[0] += cx;
  turn[1] += cy;
  turn[2] += cz;
  return Math.atan2(Math.hypot(cx, cy, cz), x * wx + y * wy + z * wz);
}

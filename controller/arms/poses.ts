/**
 * Ways from one pose of the robot to another, such as home or to sleep, as smooth steps of 50 Hz.
 *
 * Joints move together along a minimum-jerk curve. Where the straight way through the joints' space is
 * not clear, the arms lift first, turn while they are up, and then come down. Every step is looked at
 * before any is executed; the safety filter looks again.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_DIM,
  checkAction,
  CONTROL_RATE_HZ,
  JOINTS_PER_ARM,
  RESET_POSE_RAD,
  resetState,
  SLEEP_POSE_RAD,
} from "../../common/robot/aloha.ts";
import { MAX_PLAN_STEPS } from "../motion/motion_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOVING_NAMES, type SafetyLimits } from "../safety/limits.ts";
import { createWorkspaceCheck, type WorkspaceCheck } from "../safety/workspace.ts";
import { gripperCommandToRad } from "./units.ts";

/** How fast, and past what. */
export interface PoseOptions {
  /** Limits from which the rest comes where it is not told; the default limits unless told. */
  readonly limits?: SafetyLimits;
  /**
   * Largest speed of a joint, rad/s; a gripper's counts as that of its servo. Half of what the limits
   * allow the slowest joint unless told: 0.94 with the default limits.
   */
  readonly maxSpeedRadS?: number;
  /** Largest acceleration of a joint, rad/s². Half of the smallest limit unless told: 3. */
  readonly maxAccelerationRadS2?: number;
  /** What must stay clear; a fresh check with the limits' clearances unless told. */
  readonly workspace?: WorkspaceCheck;
}

/** Steps towards a pose. */
export interface PosePlan {
  /** Absolute targets `[steps, 14]`: rad, grippers 0–1. */
  readonly targets: Float32Array;
  /** Steps, 1…{@link MAX_PLAN_STEPS}. */
  readonly steps: number;
  /** The last step is the pose. Else plan anew from where these steps have led. */
  readonly isComplete: boolean;
  /** `direct`, or `lifted` where the direct way is less clear. */
  readonly route: "direct" | "lifted";
  /** The way is clear. A way that is not is the clearest that was found; the filter may hold on it. */
  readonly isClear: boolean;
  /** What comes nearest on the way, and its slack in metres (see `safety/workspace.ts`). */
  readonly nearest: { readonly what: string; readonly slackM: number };
}

/** Peak speed of a minimum-jerk curve over its mean speed. */
const PEAK_SPEED = 15 / 8;
/** Peak acceleration of a minimum-jerk curve of length 1 and duration 1: 10/√3. */
const PEAK_ACCELERATION = 10 / Math.sqrt(3);

const GRIPPER_SPAN_RAD = gripperCommandToRad(1) - gripperCommandToRad(0);

/** Part of the limits that a way to a pose uses: nobody is in a hurry. */
const SHARE_OF_LIMITS = 0.5;

const SHOULDER = 1;
const ELBOW = 2;
/**
 * Angles of a lifted arm, in rad: leaning back like at home, the forearm a little up. Of 2000 random
 * clear poses within 3 cm of an obstacle, the direct way to sleep is clear from 87 %, this or the direct
 * one from all, and home from 99.95 %.
 */
const LIFTED_RAD: ReadonlyMap<number, number> = new Map([
  [SHOULDER, RESET_POSE_RAD[SHOULDER]],
  [ELBOW, -0.3],
]);

/**
 * Both arms at the reset pose.
 *
 * @param gripper Command of both grippers, 0 (closed) – 1 (open).
 * @returns 14 numbers.
 */
export function homePose(gripper: number = 0): Float32Array {
  return resetState(gripper);
}

/**
 * Both arms lying at rest, where torque may go off.
 *
 * @param gripper Command of both grippers, 0 (closed) – 1 (open).
 * @returns 14 numbers.
 */
export function sleepPose(gripper: number = 0): Float32Array {
  return Float32Array.from([...SLEEP_POSE_RAD, gripper, ...SLEEP_POSE_RAD, gripper]);
}

/**
 * Steps from one pose to another; see {@link planPose}, which says more about them.
 *
 * @param from 14 commands at which the robot is at rest.
 * @param to 14 commands.
 * @param options Speed and obstacles.
 * @returns Absolute targets `[steps, 14]`.
 * @throws {RangeError} As {@link planPose}.
 */
export function poseSteps(
  from: ArrayLike<number>,
  to: ArrayLike<number>,
  options: PoseOptions = {},
): Float32Array {
  return planPose(from, to, options).targets;
}

/**
 * Plan the way from one pose to another.
 *
 * @param from 14 commands at which the robot is at rest: rad, grippers 0–1.
 * @param to 14 commands.
 * @param options Speed and obstacles.
 * @returns The direct way when it is clear, else the lifted one when that is clearer.
 * @throws {RangeError} A pose has not 14 finite numbers, or a bound is not positive.
 */
export function planPose(
  from: ArrayLike<number>,
  to: ArrayLike<number>,
  options: PoseOptions = {},
): PosePlan {
  checkAction(from);
  checkAction(to);
  const { limits = DEFAULT_LIMITS } = options;
  const {
    maxSpeedRadS = SHARE_OF_LIMITS * leastOf(limits, "velocity"),
    maxAccelerationRadS2 = SHARE_OF_LIMITS * leastOf(limits, "acceleration"),
    workspace = createWorkspaceCheck(limits.workspace),
  } = options;
  for (const [name, value] of Object.entries({ maxSpeedRadS, maxAccelerationRadS2 })) {
    if (!(value > 0 && Number.isFinite(value))) {
      throw new RangeError(`Cannot plan a pose: ${name} is ${value}, expected a positive number`);
    }
  }
  const bounds = { maxSpeedRadS, maxAccelerationRadS2 };
  const direct = inspect("direct", lay([from, to], bounds), workspace);
  if (direct.isClear) return direct;
  const lifted = inspect("lifted", lay(liftedWay(from, to), bounds), workspace);
  return lifted.nearest.slackM > direct.nearest.slackM ? lifted : direct;
}

/** The smallest limit of any joint of either arm, in rad/s or rad/s². */
function leastOf({ arms }: SafetyLimits, kind: "velocity" | "acceleration"): number {
  const all = [arms.left, arms.right].flatMap((arm) =>
    MOVING_NAMES.map((name) => arm[name][kind] * (name === "gripper" ? GRIPPER_SPAN_RAD : 1))
  );
  return Math.min(...all);
}

/** Corners of the lifted way: up, turn, down. */
function liftedWay(from: ArrayLike<number>, to: ArrayLike<number>): ArrayLike<number>[] {
  const lift = (pose: ArrayLike<number>) =>
    Float64Array.from(pose, (value, i) => LIFTED_RAD.get(i % ARM_DIM) ?? value);
  return [from, lift(from), lift(to), to];
}

interface Bounds {
  readonly maxSpeedRadS: number;
  readonly maxAccelerationRadS2: number;
}

interface Way {
  readonly targets: Float32Array;
  readonly isComplete: boolean;
}

/** Steps along corners, at rest at each; as many whole moves as a plan holds. */
function lay(corners: readonly ArrayLike<number>[], bounds: Bounds): Way {
  const targets: number[] = [];
  let isComplete = true;
  for (let k = 0; k + 1 < corners.length; k++) {
    let [a, b] = [corners[k], corners[k + 1]];
    const room = MAX_PLAN_STEPS - targets.length / ALOHA_DIM;
    let steps = moveSteps(a, b, bounds);
    if (steps > room) {
      isComplete = false;
      // A first move that is too long goes as far as it can: a plan must lead somewhere.
      if (targets.length > 0) break;
      const [start, end] = [a, b];
      let share = 1;
      while (steps > room) {
        share *= 0.9;
        b = Float64Array.from(start, (value, i) => value + share * (end[i] - value));
        steps = moveSteps(a, b, bounds);
      }
    }
    for (let step = 1; step <= steps; step++) {
      const u = step / steps;
      const s = u * u * u * (10 - 15 * u + 6 * u * u);
      for (let i = 0; i < ALOHA_DIM; i++) targets.push(a[i] + s * (b[i] - a[i]));
    }
    if (!isComplete) break;
  }
  // Nothing to do is one step at the pose.
  if (targets.length === 0) targets.push(...Array.from(corners[corners.length - 1]));
  return { targets: Float32Array.from(targets), isComplete };
}

/** Steps of one move, from the joint that has farthest to go; 0 when none has to move. */
function moveSteps(a: ArrayLike<number>, b: ArrayLike<number>, bounds: Bounds): number {
  let distance = 0;
  for (let i = 0; i < ALOHA_DIM; i++) {
    const span = i % ARM_DIM === JOINTS_PER_ARM ? GRIPPER_SPAN_RAD : 1;
    distance = Math.max(distance, span * Math.abs(b[i] - a[i]));
  }
  const bySpeed = PEAK_SPEED * distance / bounds.maxSpeedRadS;
  const byAcceleration = Math.sqrt(PEAK_ACCELERATION * distance / bounds.maxAccelerationRadS2);
  return Math.ceil(CONTROL_RATE_HZ * Math.max(bySpeed, byAcceleration));
}

function inspect(route: PosePlan["route"], way: Way, workspace: WorkspaceCheck): PosePlan {
  const steps = way.targets.length / ALOHA_DIM;
  let nearest = { what: "", slackM: Infinity };
  let isClear = true;
  for (let step = 0; step < steps; step++) {
    const at = step * ALOHA_DIM;
    const report = workspace(way.targets.subarray(at, at + ALOHA_DIM));
    isClear &&= report.isClear;
    if (report.slackM >= nearest.slackM) continue;
    nearest = { what: report.nearest.what, slackM: report.slackM };
  }
  return { ...way, steps, route, isClear, nearest };
}

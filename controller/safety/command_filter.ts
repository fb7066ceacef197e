/**
 * THE function that every command to an arm passes.
 *
 * Positions p and velocities v are those of the commands, not of the servos: v is the difference of
 * two commands over the time between them. Two invariants hold after every call, whatever came in:
 *
 * 1. Every joint can still stop before its end: p + v²/2a ≤ max for v > 0, and p − v²/2a ≥ min for
 *    v < 0. Braking by a·dt a cycle keeps it, for cycles of any length: each step is taken at the
 *    speed that is left, so the steps add up to at most v²/2a.
 * 2. The whole robot can stop without leaving the workspace: every pose of the path on which all
 *    joints brake at their limits has been checked before the command was let through. A command that
 *    has no such path is refused, and the robot brakes along the path that was checked before. (The
 *    path is that of cycles of the present length; the clearances cover another length's difference.)
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM } from "../../common/robot/aloha.ts";
import { CLAMP_BIT } from "./clamp_counts.ts";
import type { FilteredCommand, FilterState } from "./filter_state.ts";
import { REACH_M } from "./workspace.ts";

/** Shortest time between two poses of a braking path that are checked, in s: finer shows no more. */
const MIN_BRAKE_CYCLE_S = 0.002;

/** The limits' schema ends every braking path within 3,200 such cycles; a longer one is refused. */
const MAX_BRAKE_CYCLES = 4000;

/**
 * Targets nearer than this are the same, in rad: more than a float32 command's rounding (2e-7) and less
 * than a hundredth of a servo's tick (1.5e-3).
 */
const ROUNDING = 1e-5;

/**
 * Make a command safe, remember it and count what was changed.
 *
 * @param state Memory; every call writes to it.
 * @param command 14 absolute targets, of any value: rad, grippers 0–1. A NaN or an infinity among
 * them holds the whole robot: it brakes, it never jumps and never goes to zero. Null: there is no
 * command; the robot brakes at its limits, along the path that was checked, and then stands. This never
 * turns a joint round and counts as no clamp.
 * @param dtS Time since the last command, in s, above 0; more than `maxCycleS` counts as that.
 * @returns The action to send and what was clamped; both are overwritten by the next call.
 * @throws {RangeError} There are not 14 numbers, or `dtS` is not a positive number. The state is
 * unchanged then.
 */
export function filterCommand(
  state: FilterState,
  command: ArrayLike<number> | null,
  dtS: number,
): FilteredCommand {
  if (command !== null && command.length !== ALOHA_DIM) {
    throw new RangeError(
      `Cannot filter a command of ${command.length} numbers, expected ${ALOHA_DIM} ` +
        `(per arm 6 joints in rad and the gripper 0–1)`,
    );
  }
  if (!(dtS > 0) || dtS === Infinity) {
    throw new RangeError(
      `Cannot filter a command after ${dtS} s: the time since the last one must be above 0`,
    );
  }
  const { result: { clamps } } = state;
  const dt = Math.min(dtS, state.limits.maxCycleS);
  clamps.hold = null;
  clamps.obstacle = "";
  clamps.obstacleDistanceM = 0;
  if (command === null) {
    clamps.masks.fill(0);
    brake(state, dt);
  } else if (limitJoints(state, command, dt) && canStopClear(state, dt)) {
    accept(state, dt);
  } else {
    brake(state, dt);
  }
  finish(state);
  return state.result;
}

/** Choose each joint's velocity. False, with the blame noted, if the command has no number in it. */
function limitJoints(state: FilterState, command: ArrayLike<number>, dt: number): boolean {
  const { position, candidateVelocity, result: { clamps } } = state;
  clamps.masks.fill(0);
  for (let i = 0; i < ALOHA_DIM; i++) {
    if (!Number.isFinite(command[i])) {
      clamps.masks[i] = CLAMP_BIT.not_finite;
      clamps.hold = "not_finite";
    }
  }
  if (clamps.hold !== null) return false;
  for (let i = 0; i < ALOHA_DIM; i++) {
    limitJoint(state, i, command, dt);
    state.brakePosition[i] = position[i] + candidateVelocity[i] * dt;
    state.brakeVelocity[i] = candidateVelocity[i];
  }
  return true;
}

/**
 * Choose the velocity nearest to the wanted one that every limit of joint `i` allows. It is written, not
 * returned: V8 allocates for a number that a function returns.
 */
function limitJoint(state: FilterState, i: number, command: ArrayLike<number>, dt: number): void {
  const { arrays, position, velocity, result: { clamps: { masks } } } = state;
  const p = position[i], v = velocity[i], a = arrays.acceleration[i];
  // A joint that rests outside may come back in, and never goes farther out.
  const min = Math.min(arrays.min[i], p), max = Math.max(arrays.max[i], p);
  let mask = 0;
  let target = command[i];
  if (target < arrays.min[i] - ROUNDING || target > arrays.max[i] + ROUNDING) {
    mask |= CLAMP_BIT.position;
  }
  target = Math.min(Math.max(target, arrays.min[i]), arrays.max[i]);

  if (Math.abs(target - p) > arrays.step[i] + ROUNDING) mask |= CLAMP_BIT.step;
  const asCommanded = (target - p) / dt;
  // Follow the target at its own speed and close the gap such that both end together: a joint that
  // ran at a far target as fast as it may would overshoot it by its braking distance.
  const gap = state.target[i] - p;
  let next = (target - state.target[i]) / dt +
    Math.sign(gap) * stoppableSpeed(Math.abs(gap), a, dt);
  const fastest = arrays.velocity[i];
  if (Math.abs(next) > fastest) {
    if ((Math.abs(next) - fastest) * dt > ROUNDING) mask |= CLAMP_BIT.velocity;
    next = Math.sign(next) * fastest;
  }

  const change = a * dt;
  if (next > v + change) {
    if ((next - v - change) * dt > ROUNDING) mask |= CLAMP_BIT.acceleration;
    next = v + change;
  } else if (next < v - change) {
    if ((v - change - next) * dt > ROUNDING) mask |= CLAMP_BIT.acceleration;
    next = v - change;
  }

  const up = stoppableSpeed(max - p, a, dt), down = -stoppableSpeed(p - min, a, dt);
  if (next > up) {
    if ((next - up) * dt > ROUNDING) mask |= CLAMP_BIT.braking;
    // Full braking is always enough by invariant 1; the comparison is for rounding alone.
    next = Math.max(up, v - change);
  } else if (next < down) {
    if ((down - next) * dt > ROUNDING) mask |= CLAMP_BIT.braking;
    next = Math.min(down, v + change);
  }
  if (mask === 0 && Math.abs(next - asCommanded) * dt > ROUNDING) mask = CLAMP_BIT.acceleration;
  masks[i] = mask;
  state.candidateTarget[i] = target;
  state.candidateVelocity[i] = next;
}

/**
 * The largest v whose step and braking distance, v·dt + v²/2a, fit into what is left.
 *
 * @param left Distance to the end, not negative.
 */
function stoppableSpeed(left: number, a: number, dt: number): number {
  if (left <= 0) return 0;
  // Written without a difference of near numbers: 2·left / (dt + √(dt² + 2·left/a)).
  return 2 * left / (dt + Math.sqrt(dt * dt + 2 * left / a));
}

/** Whether the candidate, and every pose of braking from it, is clear. */
function canStopClear(state: FilterState, dt: number): boolean {
  const { brakePosition, brakeVelocity, checkWorkspace, result: { clamps } } = state;
  // From inside a violation everything is allowed that does not make it worse.
  const floor = Math.min(0, state.slackM);
  const brakeDt = Math.max(dt, MIN_BRAKE_CYCLE_S);
  for (let cycle = 0; cycle < MAX_BRAKE_CYCLES; cycle++) {
    const report = checkWorkspace(brakePosition);
    if (cycle === 0) state.candidateSlackM = report.slackM;
    if (!(report.slackM >= floor)) {
      clamps.hold = "workspace";
      clamps.obstacle = report.nearest.what;
      clamps.obstacleDistanceM = report.nearest.distanceM;
      return false;
    }
    if (brakingReachM(state) <= report.slackM - floor) return true;
    brakeOnce(state, brakePosition, brakeVelocity, brakeDt);
  }
  clamps.hold = "workspace";
  clamps.obstacle = "a braking path too long to check";
  return false;
}

/** How far any point of the robot can move, against any other, before the braking path has ended. */
function brakingReachM({ brakeVelocity, arrays }: FilterState): number {
  let left = 0, right = 0;
  for (let i = 0; i < ARM_DIM; i++) {
    const j = ARM_DIM + i;
    left += REACH_M[i] * brakeVelocity[i] ** 2 / (2 * arrays.acceleration[i]);
    right += REACH_M[i] * brakeVelocity[j] ** 2 / (2 * arrays.acceleration[j]);
  }
  // Two points of one arm may move apart by twice its share, points of both arms by the sum.
  return 2 * Math.max(left, right);
}

/** One cycle of braking, in place. */
function brakeOnce(
  { arrays }: FilterState,
  position: Float64Array,
  velocity: Float64Array,
  dt: number,
): void {
  for (let i = 0; i < ALOHA_DIM; i++) {
    const v = velocity[i], less = Math.abs(v) - arrays.acceleration[i] * dt;
    velocity[i] = less > 0 ? Math.sign(v) * less : 0;
    position[i] += velocity[i] * dt;
  }
}

/** Take the candidate. */
function accept(state: FilterState, dt: number): void {
  const { position, velocity, candidateVelocity, candidateTarget, target } = state;
  for (let i = 0; i < ALOHA_DIM; i++) {
    velocity[i] = candidateVelocity[i];
    position[i] += velocity[i] * dt;
    target[i] = candidateTarget[i];
  }
  state.slackM = state.candidateSlackM;
}

/** Refuse the candidate and brake. */
function brake(state: FilterState, dt: number): void {
  const { position, velocity, target, checkWorkspace } = state;
  brakeOnce(state, position, velocity, dt);
  target.set(position);
  state.slackM = checkWorkspace(position).slackM;
}

/** Write the answer and count. */
function finish({ position, counts, result: { action, clamps } }: FilterState): void {
  action.set(position);
  let any = clamps.hold === null ? 0 : 1;
  for (let i = 0; i < ALOHA_DIM; i++) any |= clamps.masks[i];
  clamps.isClamped = any !== 0;
  counts.add(clamps.masks, clamps.hold === "workspace");
}

/**
 * A step log as motion that arms can make again, slowly.
 *
 * What is played are the commands, as they left the safety filter. Cycles in which nothing moved are
 * left out, and so is lost time. Where that puts two poses next to each other that were not (the arms
 * went home in between), a straight path at a walking pace joins them. The result obeys the position
 * limits; the arms' own safety filter looks at every target of it again.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_NAMES,
  CONTROL_PERIOD_MS,
  CONTROL_RATE_HZ,
  STATE_NAMES,
} from "../../common/robot/aloha.ts";
import { MAX_OUTSIDE_TICKS } from "../arms/inspect_servo.ts";
import { gripperRadToCommand, ticksToRad } from "../arms/units.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../motion/motion_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { MOVING_NAMES, type SafetyLimits } from "../safety/limits.ts";
import type { StepLog } from "./reader.ts";

/** Slowest and fastest replay on arms. */
export const REPLAY_SPEED = { min: 0.05, default: 0.25, max: 1 } as const;

/** How a log is to be replayed. */
export interface ReplayPlanOptions {
  /** Share of the speed at which it was recorded, within {@link REPLAY_SPEED}. */
  readonly speed?: number;
  /** Position limits in force; the defaults if absent. */
  readonly limits?: SafetyLimits;
}

/** Motion for arms. */
export interface ReplayPlan {
  /** Where the arms must be first `[14]`: rad, grippers 0–1. Go there by other means. */
  readonly start: Float32Array;
  /** Absolute targets at 50 Hz `[n, 14]`, the first of which is `start`. */
  readonly targets: Float32Array;
  /** n. */
  readonly steps: number;
  /** Places at which poses had to be joined. */
  readonly joins: number;
  /** Cycles that were left out, because they held the pose. */
  readonly removedCycles: number;
}

/** Poses that differ less are the same: the rounding of float32 at 3 rad, and no more. */
const SAME_POSE = 1e-6;

/** Speed at which poses are joined: rad or openings a second, at speed 1. */
const JOIN_SPEED = 0.4;

/**
 * Arms may stand so far outside their limits when torque is switched on, in rad, and their first commands
 * are where they stand: those are moved to the limit.
 */
const OUTSIDE_RAD = ticksToRad(MAX_OUTSIDE_TICKS) - ticksToRad(0);
/** The same for a gripper's command. */
const OUTSIDE_OPENING = gripperRadToCommand(OUTSIDE_RAD) - gripperRadToCommand(0);

const NOT_STARTED = HOLD_REASONS.indexOf("not started");

/** Poses with the time at which each is due. */
interface Path {
  /** ms from the first pose, rising. */
  readonly times: number[];
  /** Poses `[14]`. */
  readonly poses: Float64Array[];
  joins: number;
}

/**
 * Make a plan of a log.
 *
 * @param log The log.
 * @param options Speed and limits.
 * @throws {RangeError} The speed is out of range, a command is no number or outside its limits, or
 * nothing moved.
 */
export function replayPlan(log: StepLog, options: ReplayPlanOptions = {}): ReplayPlan {
  const { speed = REPLAY_SPEED.default, limits = DEFAULT_LIMITS } = options;
  if (!(speed >= REPLAY_SPEED.min && speed <= REPLAY_SPEED.max)) {
    throw new RangeError(
      `Cannot replay at speed ${speed}: expected ${REPLAY_SPEED.min}–${REPLAY_SPEED.max}`,
    );
  }
  const path = movingPath(log, limits);
  if (path.poses.length < 2) {
    throw new RangeError(`Cannot replay: nothing moves in the ${log.cycles} cycles of the log`);
  }
  const targets = resample(path, speed);
  return {
    start: targets.slice(0, ALOHA_DIM),
    targets,
    steps: targets.length / ALOHA_DIM,
    joins: path.joins,
    removedCycles: log.cycles - path.poses.length,
  };
}

/** The poses of cycles that moved. */
function movingPath(log: StepLog, limits: SafetyLimits): Path {
  const periodMs = 1000 / log.header.rateHz;
  const path: Path = { times: [], poses: [], joins: 0 };
  const record = new Float64Array(MOTION_RECORD.length);
  // The cycle before was commanded and is one period away: the step from it is a step of the motion.
  let isConsecutive = false;
  for (let i = 0; i < log.cycles; i++) {
    log.read(i, record);
    const isGap = i > 0 && log.timesMs[i] - log.timesMs[i - 1] > 1.5 * periodMs;
    if (isGap || record[MOTION_RECORD.isRestart] === 1) isConsecutive = false;
    if (record[MOTION_RECORD.hold] === NOT_STARTED) {
      isConsecutive = false;
      continue;
    }
    const pose = record.slice(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM);
    checkPose(pose, limits, i);
    const last = path.poses.at(-1);
    if (last === undefined) {
      path.times.push(0);
      path.poses.push(pose);
    } else if (largestStep(last, pose) > SAME_POSE) {
      append(path, pose, isConsecutive ? periodMs : joinMs(last, pose, periodMs));
      if (!isConsecutive) path.joins++;
    }
    isConsecutive = true;
  }
  return path;
}

function append(path: Path, pose: Float64Array, afterMs: number): void {
  path.times.push(path.times[path.times.length - 1] + afterMs);
  path.poses.push(pose);
}

function joinMs(from: Float64Array, to: Float64Array, periodMs: number): number {
  return Math.max(periodMs, 1000 * largestStep(from, to) / JOIN_SPEED);
}

function largestStep(from: Float64Array, to: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < ALOHA_DIM; i++) largest = Math.max(largest, Math.abs(to[i] - from[i]));
  return largest;
}

/** Refuse a pose that is outside its limits; move one that arms may have begun at inside. */
function checkPose(pose: Float64Array, limits: SafetyLimits, cycle: number): void {
  ARM_NAMES.forEach((arm, a) => {
    MOVING_NAMES.forEach((name, j) => {
      const i = a * MOVING_NAMES.length + j;
      const { positionMin: min, positionMax: max } = limits.arms[arm][name];
      const outside = name === "gripper" ? OUTSIDE_OPENING : OUTSIDE_RAD;
      if (!(pose[i] >= min - outside && pose[i] <= max + outside)) {
        throw new RangeError(
          `Cannot replay: ${STATE_NAMES[i]} of cycle ${cycle} is ${
            pose[i]
          }, expected a number in ` +
            `[${min}, ${max}]`,
        );
      }
      pose[i] = Math.min(Math.max(pose[i], min), max);
    });
  });
}

/** Poses every 20 ms of the stretched path, straight between those of the log, and the last one. */
function resample({ times, poses }: Path, speed: number): Float32Array {
  const lastMs = times[times.length - 1] / speed;
  const steps = Math.ceil(lastMs / CONTROL_PERIOD_MS - 1e-9) + 1;
  const targets = new Float32Array(steps * ALOHA_DIM);
  let from = 0;
  for (let step = 0; step < steps; step++) {
    const t = Math.min(step * 1000 / CONTROL_RATE_HZ * speed, times[times.length - 1]);
    while (from < times.length - 2 && times[from + 1] < t) from++;
    const share = (t - times[from]) / (times[from + 1] - times[from]);
    for (let i = 0; i < ALOHA_DIM; i++) {
      const a = poses[from][i], b = poses[from + 1][i];
      targets[step * ALOHA_DIM + i] = a + share * (b - a);
    }
  }
  return targets;
}

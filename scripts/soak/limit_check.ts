/**
 * Checks the commands of a step log against the limits, with arithmetic of its own.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, STATE_NAMES } from "../../common/robot/aloha.ts";
import { MAX_OFF_TRACK_RAD } from "../../controller/motion/arm_watch.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { MOVING_NAMES, type SafetyLimits } from "../../controller/safety/limits.ts";
import type { StepLog } from "../../controller/step_log/reader.ts";

/** What {@link checkCommands} found. */
export interface LimitFindings {
  /** Cycles with a command. */
  readonly commands: number;
  /** Commands with a number beyond its limit by more than rounding, by limit. */
  readonly violations: Readonly<
    Record<"finite" | "position" | "velocity" | "acceleration", number>
  >;
  /** The first few of them in words. */
  readonly examples: readonly string[];
  /** Largest share of a limit that was used; 1 is the limit. */
  readonly largestShare: Readonly<Record<"velocity" | "acceleration", number>>;
  /** Motions that began anew, at rest, near where the servos were: what is between them is no motion. */
  readonly restarts: number;
}

/** A log holds float32: at 4 rad half a unit in the last place is 2.4e-7. */
const ROUNDING = 2.5e-7;
/** Slower than this is at rest, in rad/s. */
const REST = 1e-3;
const MAX_EXAMPLES = 10;
const NOT_STARTED = HOLD_REASONS.indexOf("not started");
const STOPPED = HOLD_REASONS.indexOf("emergency stop");

/**
 * Check every command of a log: positions within their limits (or on the way back in), and between
 * successive cycles no more velocity and acceleration than allowed.
 *
 * Two things are no motion of the arms and do not count: the jump with which a motion begins anew, from
 * rest or a stop, where the servos are or at the goals that they hold; and the standstill of the commands
 * at an emergency stop, where the buses have stopped to write them.
 *
 * @param log The log.
 * @param limits Limits that were in force.
 */
export function checkCommands(log: StepLog, limits: SafetyLimits): LimitFindings {
  const joints = ARM_NAMES.flatMap((arm) => MOVING_NAMES.map((name) => limits.arms[arm][name]));
  const dt = 1 / log.header.rateHz;
  const record = new Float64Array(MOTION_RECORD.length);
  const last = new Float64Array(ALOHA_DIM), lastVelocity = new Float64Array(ALOHA_DIM);
  const velocity = new Float64Array(ALOHA_DIM);
  const violations = { finite: 0, position: 0, velocity: 0, acceleration: 0 };
  const largestShare = { velocity: 0, acceleration: 0 };
  const examples: string[] = [];
  let commands = 0, restarts = 0, hasLast = false;

  for (let cycle = 0; cycle < log.cycles; cycle++) {
    log.read(cycle, record);
    const command = record.subarray(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM);
    if (!hasLast && command.every(Number.isNaN)) continue;
    commands++;
    if (!command.every(Number.isFinite)) {
      note("finite", cycle, command.findIndex((value) => !Number.isFinite(value)), NaN);
      hasLast = false;
      continue;
    }
    for (let i = 0; i < ALOHA_DIM; i++) {
      velocity[i] = hasLast ? (command[i] - last[i]) / dt : 0;
    }
    const hold = record[MOTION_RECORD.hold];
    const isStopped = (hold === NOT_STARTED || hold === STOPPED) && velocity.every((v) => v === 0);
    if (record[MOTION_RECORD.isRestart] === 1 && isAtRest(lastVelocity) && isAtServos(record)) {
      restarts++;
      velocity.fill(0);
    } else if (!isStopped) {
      checkPositions(cycle, command);
      checkRates(cycle);
    }
    last.set(command);
    lastVelocity.set(velocity);
    hasLast = true;
  }
  return { commands, violations, examples, largestShare, restarts };

  function excess(i: number) {
    const { velocity: fastest, acceleration: most } = joints[i];
    return {
      velocity: Math.max(0, Math.abs(velocity[i]) - 2 * ROUNDING / dt) / fastest,
      acceleration: Math.max(
        0,
        Math.abs(velocity[i] - lastVelocity[i]) / dt - 4 * ROUNDING / dt ** 2,
      ) / most,
    };
  }

  function isOutside(i: number, position: number): boolean {
    const { positionMin, positionMax } = joints[i];
    // An arm may rest a little outside; commands may lead back in only.
    return position < Math.min(positionMin, hasLast ? last[i] : Infinity) - ROUNDING ||
      position > Math.max(positionMax, hasLast ? last[i] : -Infinity) + ROUNDING;
  }

  function checkPositions(cycle: number, command: Float64Array): void {
    for (let i = 0; i < ALOHA_DIM; i++) {
      if (isOutside(i, command[i])) note("position", cycle, i, command[i]);
    }
  }

  function checkRates(cycle: number): void {
    for (let i = 0; i < ALOHA_DIM; i++) {
      const share = excess(i);
      for (const kind of ["velocity", "acceleration"] as const) {
        largestShare[kind] = Math.max(largestShare[kind], share[kind]);
        if (share[kind] > 1) note(kind, cycle, i, share[kind] * joints[i][kind]);
      }
    }
  }

  function note(kind: keyof typeof violations, cycle: number, i: number, value: number): void {
    violations[kind]++;
    if (examples.length >= MAX_EXAMPLES) return;
    const hold = HOLD_REASONS[record[MOTION_RECORD.hold]];
    examples.push(`cycle ${cycle} (hold: ${hold}): ${STATE_NAMES[i]} has ${kind} ${value}`);
  }
}

function isAtRest(velocity: Float64Array): boolean {
  return velocity.every((perS) => Math.abs(perS) <= REST);
}

/** Whether each joint's command is near where it was measured; a gripper's is in another unit. */
function isAtServos(record: Float64Array): boolean {
  for (let i = 0; i < ALOHA_DIM; i++) {
    if (i % ARM_DIM === ARM_DIM - 1) continue;
    const gap = record[MOTION_RECORD.command + i] - record[MOTION_RECORD.measured + i];
    if (!(Math.abs(gap) <= MAX_OFF_TRACK_RAD)) return false;
  }
  return true;
}

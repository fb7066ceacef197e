/**
 * Jerk of the commands, and how rough the passage from one chunk to the next is.
 *
 * The jerk of a joint is the third difference of its commands over the third power of the cycle's
 * nominal period, in rad/s³: commands are made for deadlines a period apart, and the jitter of the
 * moment at which one was computed is no motion. A cycle's jerk is the root mean square over the 12
 * revolute joints; grippers, which are not in rad, are left out. In a log of float32 commands at 200 Hz
 * rounding alone makes about 1 rad/s³, at 50 Hz a hundredth of that.
 *
 * A boundary is where a chunk takes over from the one before: the first cycle of a plan that follows
 * another plan, at once or after a hold for want of one, and the first cycle of such a hold. Motion
 * that begins anew (after a stop, or in another episode) is no boundary.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, CONTROL_RATE_HZ, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../motion/motion_memory.ts";
import type { StepLog } from "./reader.ts";

/** Control steps before and after a boundary that count as near it. */
export const BOUNDARY_STEPS = 3;

/** Cycles farther apart than this many periods are not consecutive. */
const GAP_PERIODS = 1.5;

const NOT_STARTED = HOLD_REASONS.indexOf("not started");
const NO_PLAN = HOLD_REASONS.indexOf("no plan");

/** Which of the 14 numbers are revolute joints. */
const REVOLUTE: readonly number[] = Array.from({ length: ALOHA_DIM }, (_, i) => i)
  .filter((i) => i % ARM_DIM < JOINTS_PER_ARM);

/** Jerk of some cycles. */
export interface JerkStatistics {
  /** Cycles. */
  readonly cycles: number;
  /** Mean of the cycles' jerk, in rad/s³; 0 without cycles. */
  readonly mean: number;
  /** Largest of it, in rad/s³. */
  readonly max: number;
}

/** How smooth the commands are. */
export interface JerkReport {
  /** Chunks that took over from another one. */
  readonly boundaries: number;
  /** Of those, the ones at which the next chunk was late, so that the pose was held. */
  readonly lateChunks: number;
  /** Cycles within {@link BOUNDARY_STEPS} control steps of a boundary. */
  readonly nearBoundary: JerkStatistics;
  /** All other cycles in which a plan was executed. */
  readonly elsewhere: JerkStatistics;
  /** Largest change of a joint's commanded velocity from one cycle to the next at a boundary, rad/s. */
  readonly maxVelocityJumpRadS: number;
  /** Largest jump of a wanted joint from one cycle to the next at a boundary, rad: before the filter. */
  readonly maxTargetJumpRad: number;
}

/** Sum, number and maximum. */
class Tally {
  cycles = 0;
  sum = 0;
  max = 0;

  add(value: number): void {
    this.cycles++;
    this.sum += value;
    this.max = Math.max(this.max, value);
  }
}

/** Measures jerk cycle by cycle, in constant memory: for a running controller's `/status`. */
export class JerkMeter {
  readonly #periodS: number;
  readonly #commands: Float64Array[] = [0, 1, 2].map(() => new Float64Array(ALOHA_DIM));
  readonly #wanted = new Float64Array(ALOHA_DIM);
  /** Consecutive commands that are remembered, 0–3. */
  #depth = 0;
  #lastMs = 0;
  /** Plan of the cycle before; 0 while holding. */
  #plan = 0;
  /** The last plan of this motion; 0 when it has none yet. */
  #lastPlan = 0;
  #boundaryStep = -Infinity;
  #boundaries = 0;
  #lateChunks = 0;
  #maxVelocityJump = 0;
  #maxTargetJump = 0;
  readonly #near = new Tally();
  readonly #elsewhere = new Tally();
  /** Cycles that a boundary may yet turn out to be near to: their steps and jerks, oldest first. */
  readonly #waitingSteps: Float64Array;
  readonly #waitingJerks: Float64Array;
  #firstWaiting = 0;
  #waiting = 0;

  /**
   * Begin measuring.
   *
   * @param rateHz Cycles a second, above 0.
   * @throws {RangeError} The rate is not a positive number.
   */
  constructor(rateHz: number) {
    if (!(rateHz > 0 && rateHz < Infinity)) {
      throw new RangeError(`Cannot measure jerk at ${rateHz} Hz: the rate must be above 0`);
    }
    this.#periodS = 1 / rateHz;
    const room = (BOUNDARY_STEPS + 1) * Math.ceil(Math.max(1, rateHz / CONTROL_RATE_HZ)) + 1;
    this.#waitingSteps = new Float64Array(room);
    this.#waitingJerks = new Float64Array(room);
  }

  /**
   * Take one cycle.
   *
   * @param record `MOTION_RECORD`; nothing of it is kept.
   */
  add(record: Float64Array): void {
    const hold = record[MOTION_RECORD.hold], plan = record[MOTION_RECORD.planId];
    if (hold === NOT_STARTED || !isFinitePose(record)) return this.#beginAnew();
    const elapsedMs = record[MOTION_RECORD.timeMs] - this.#lastMs;
    const isGap = !(elapsedMs > 0 && elapsedMs < 1000 * GAP_PERIODS * this.#periodS);
    if (isGap || record[MOTION_RECORD.isRestart] === 1) this.#depth = 0;
    const isMoving = plan !== 0 || (hold === NO_PLAN && this.#lastPlan !== 0);
    if (!isMoving) this.#lastPlan = 0;

    // A late chunk makes two rough places, where the hold begins and where it ends.
    const isLate = isMoving && plan === 0 && this.#plan !== 0;
    const isNext = plan !== 0 && plan !== this.#plan && this.#lastPlan !== 0;
    if (isLate || isNext) this.#noteBoundary(record);
    if (isNext) this.#boundaries++;
    if (isNext && this.#plan === 0) this.#lateChunks++;
    if (isMoving && this.#depth === 3) this.#noteJerk(record);

    this.#remember(record);
    this.#plan = plan;
    if (plan !== 0) this.#lastPlan = plan;
  }

  /** What was measured so far. */
  report(): JerkReport {
    const elsewhere = new Tally();
    Object.assign(elsewhere, this.#elsewhere);
    for (let i = 0; i < this.#waiting; i++) elsewhere.add(this.#waitingJerks[this.#slot(i)]);
    return {
      boundaries: this.#boundaries,
      lateChunks: this.#lateChunks,
      nearBoundary: statisticsOf(this.#near),
      elsewhere: statisticsOf(elsewhere),
      maxVelocityJumpRadS: this.#maxVelocityJump,
      maxTargetJumpRad: this.#maxTargetJump,
    };
  }

  #beginAnew(): void {
    this.#depth = 0;
    this.#plan = 0;
    this.#lastPlan = 0;
  }

  #noteBoundary(record: Float64Array): void {
    this.#boundaryStep = record[MOTION_RECORD.step];
    while (this.#waiting > 0) this.#settleOldest();
    const [c1, c2] = this.#commands;
    for (const i of REVOLUTE) {
      if (this.#depth >= 1) {
        const jump = Math.abs(record[MOTION_RECORD.wanted + i] - this.#wanted[i]);
        if (jump > this.#maxTargetJump) this.#maxTargetJump = jump;
      }
      if (this.#depth >= 2) {
        const change = Math.abs(record[MOTION_RECORD.command + i] - 2 * c1[i] + c2[i]);
        this.#maxVelocityJump = Math.max(this.#maxVelocityJump, change / this.#periodS);
      }
    }
  }

  #noteJerk(record: Float64Array): void {
    const [c1, c2, c3] = this.#commands;
    let sum = 0;
    for (const i of REVOLUTE) {
      sum += (record[MOTION_RECORD.command + i] - 3 * c1[i] + 3 * c2[i] - c3[i]) ** 2;
    }
    const jerk = Math.sqrt(sum / REVOLUTE.length) / this.#periodS ** 3;
    const step = record[MOTION_RECORD.step];
    if (step - this.#boundaryStep <= BOUNDARY_STEPS) return this.#near.add(jerk);
    while (
      this.#waiting > 0 && (step - this.#waitingSteps[this.#firstWaiting] > BOUNDARY_STEPS ||
        this.#waiting === this.#waitingSteps.length)
    ) this.#settleOldest();
    const slot = this.#slot(this.#waiting++);
    this.#waitingSteps[slot] = step;
    this.#waitingJerks[slot] = jerk;
  }

  /** Decide on the oldest waiting cycle: near the last boundary or not. */
  #settleOldest(): void {
    const away = Math.abs(this.#waitingSteps[this.#firstWaiting] - this.#boundaryStep);
    const tally = away <= BOUNDARY_STEPS ? this.#near : this.#elsewhere;
    tally.add(this.#waitingJerks[this.#firstWaiting]);
    this.#firstWaiting = this.#slot(1);
    this.#waiting--;
  }

  #slot(index: number): number {
    return (this.#firstWaiting + index) % this.#waitingSteps.length;
  }

  #remember(record: Float64Array): void {
    const oldest = this.#commands.pop() as Float64Array;
    for (let i = 0; i < ALOHA_DIM; i++) {
      oldest[i] = record[MOTION_RECORD.command + i];
      this.#wanted[i] = record[MOTION_RECORD.wanted + i];
    }
    this.#commands.unshift(oldest);
    this.#depth = Math.min(3, this.#depth + 1);
    this.#lastMs = record[MOTION_RECORD.timeMs];
  }
}

/**
 * Measure a whole log.
 *
 * @param log The log.
 * @returns How smooth its commands are.
 */
export function jerkReport(log: StepLog): JerkReport {
  const meter = new JerkMeter(log.header.rateHz);
  const record = new Float64Array(MOTION_RECORD.length);
  for (let i = 0; i < log.cycles; i++) meter.add(log.read(i, record));
  return meter.report();
}

function isFinitePose(record: Float64Array): boolean {
  for (let i = 0; i < ALOHA_DIM; i++) {
    if (!Number.isFinite(record[MOTION_RECORD.command + i])) return false;
  }
  return true;
}

function statisticsOf({ cycles, sum, max }: Tally): JerkStatistics {
  return { cycles, mean: cycles === 0 ? 0 : sum / cycles, max };
}

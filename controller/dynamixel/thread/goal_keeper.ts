/**
 * Which Goal_Position a cycle writes: the newest setpoint if it may be trusted, else what was written
 * before. Pure: clock and stop are the caller's.
 *
 * @module
 */

import { CONTROL_TABLE } from "../control_table.ts";
import { GOAL_IDS, SETPOINT } from "./bus_memory.ts";

/** What a cycle may know of the emergency stop. */
export interface StopState {
  /** A stop is in force: whatever setpoints say, the arm keeps its goals. */
  readonly isStopped: boolean;
  /** When the latch was last opened, in ms; setpoints from before do not count. */
  readonly openedMs: number;
}

/** What to write. */
export interface GoalDecision {
  /** A setpoint was taken up that no cycle had written before. */
  readonly isNew: boolean;
  /** The goals differ from those of the cycle before, or are the first. */
  readonly hasMoved: boolean;
}

const { min: MIN_TICKS, max: MAX_TICKS } = CONTROL_TABLE.goalPosition;

/** The goals of one bus. */
export class GoalKeeper {
  readonly #maxAgeMs: number;
  readonly #ticks = new Float64Array(GOAL_IDS.length);
  #hasGoals = false;
  #takenMs = -Infinity;

  /**
   * No goals yet.
   *
   * @param maxAgeMs Setpoints that are older, or so far ahead of the clock, are not taken up, in ms.
   */
  constructor(maxAgeMs: number) {
    this.#maxAgeMs = maxAgeMs;
  }

  /** Goals in whole ticks `[7]`; undefined before the first. */
  get ticks(): Readonly<Float64Array> | undefined {
    return this.#hasGoals ? this.#ticks : undefined;
  }

  /** Forget the goals: the arm may have been moved by hand since. The next setpoint is the first again. */
  forget(): void {
    this.#hasGoals = false;
  }

  /**
   * Take up a setpoint, or not: while a stop is in force; when it is from before the latch was opened,
   * not newer than the one taken last, farther from now than allowed, not finite, or out of
   * Goal_Position's range.
   *
   * @param setpoint Numbers at the places of `SETPOINT`; undefined when none was ever written.
   * @param stop The emergency stop.
   * @param nowMs The time.
   * @returns What has changed in {@link ticks}.
   */
  update(
    setpoint: Readonly<Float64Array> | undefined,
    { isStopped, openedMs }: StopState,
    nowMs: number,
  ): GoalDecision {
    const kept = { isNew: false, hasMoved: false };
    if (setpoint === undefined || isStopped) return kept;
    const timeMs = setpoint[SETPOINT.timeMs];
    const isFresh = timeMs > openedMs && timeMs > this.#takenMs &&
      // One from far ahead would shut out all that come after it.
      Math.abs(nowMs - timeMs) <= this.#maxAgeMs;
    if (!isFresh || !isWritable(setpoint)) return kept;
    this.#takenMs = timeMs;
    let hasMoved = !this.#hasGoals;
    for (let i = 0; i < GOAL_IDS.length; i++) {
      const ticks = Math.round(setpoint[SETPOINT.ticks + i]);
      hasMoved ||= ticks !== this.#ticks[i];
      this.#ticks[i] = ticks;
    }
    this.#hasGoals = true;
    return { isNew: true, hasMoved };
  }
}

function isWritable(setpoint: Readonly<Float64Array>): boolean {
  for (let i = 0; i < GOAL_IDS.length; i++) {
    const ticks = setpoint[SETPOINT.ticks + i];
    // NaN fails both comparisons.
    if (!(ticks >= MIN_TICKS && ticks <= MAX_TICKS)) return false;
  }
  return Number.isFinite(setpoint[SETPOINT.timeMs]);
}

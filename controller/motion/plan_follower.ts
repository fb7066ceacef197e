/**
 * What the plans of the main thread want at a moment.
 *
 * Targets are tied to control steps: a plan that is seen late starts in its middle. The newest plan
 * replaces the one before as soon as its own first step begins. At rates above 50 Hz the target of a
 * control step is reached in its last cycle, along a line from what was wanted before.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { SharedRecord, type SharedRecordMemory } from "../threads/shared_record.ts";
import { MAX_PLAN_STEPS, PLAN } from "./motion_memory.ts";

/** A plan and when it begins. */
interface Slot {
  /** As in {@link PLAN}, its first step resolved. */
  values: Float64Array;
  isUsed: boolean;
}

function emptySlot(): Slot {
  return { values: new Float64Array(PLAN.length), isUsed: false };
}

/** Reads plans from shared memory and interpolates between their targets. */
export class PlanFollower {
  readonly #record: SharedRecord;
  readonly #cyclesPerStep: number;
  /** The plan that has begun. */
  #current = emptySlot();
  /** A newer one that has not. */
  #next = emptySlot();
  #spare = emptySlot();
  #seenCount = 0;
  #seenId = 0;

  /** What was wanted last `[14]`, if a plan was followed then. */
  readonly #wanted = new Float64Array(ALOHA_DIM);
  #isFollowing = false;
  /** Where the line to the present target begins `[14]`, and after which cycle of its step. */
  readonly #from = new Float64Array(ALOHA_DIM);
  #fromCycle = 0;
  #step = 0;
  #id = 0;

  /**
   * Begin without a plan.
   *
   * @param memory `MotionMemory.plan`.
   * @param cyclesPerStep Cycles of a control step, 1 or more.
   */
  constructor(memory: SharedRecordMemory, cyclesPerStep: number) {
    this.#record = new SharedRecord(memory);
    this.#cyclesPerStep = cyclesPerStep;
  }

  /** Number of the newest plan; 0: none. */
  get planId(): number {
    return this.#newest?.values[PLAN.id] ?? 0;
  }

  /** Control step at which the newest plan began, or will; 0 without one. */
  get firstStep(): number {
    return this.#newest?.values[PLAN.firstStep] ?? 0;
  }

  /** Number of the plan that {@link want} follows; 0: none. */
  get followedId(): number {
    return this.#isFollowing ? this.#id : 0;
  }

  /**
   * Control steps of the newest plan that come after a step.
   *
   * @param step The step.
   */
  stepsLeft(step: number): number {
    const newest = this.#newest;
    if (newest === null) return 0;
    const steps = newest.values[PLAN.steps];
    return Math.min(steps, Math.max(0, newest.values[PLAN.firstStep] + steps - 1 - step));
  }

  get #newest(): Slot | null {
    return this.#next.isUsed ? this.#next : this.#current.isUsed ? this.#current : null;
  }

  /**
   * See whether there is a new plan, and whether a plan begins. Call it once a cycle, before
   * {@link want}.
   *
   * @param step Control step of this cycle.
   * @param cycle Place of this cycle in that step, from 0.
   */
  look(step: number, cycle: number): void {
    this.#read(step, cycle);
    if (!this.#next.isUsed || this.#next.values[PLAN.firstStep] > step) return;
    [this.#current, this.#next] = [this.#next, this.#current];
    this.#next.isUsed = false;
  }

  #read(step: number, cycle: number): void {
    const { count } = this.#record;
    if (count === this.#seenCount) return;
    const { values } = this.#spare;
    if (!this.#record.read(values)) return;
    this.#seenCount = count;
    const id = values[PLAN.id], steps = values[PLAN.steps];
    if (id === this.#seenId) return;
    this.#seenId = id;
    if (!(Number.isInteger(steps) && steps >= 1 && steps <= MAX_PLAN_STEPS)) return;
    if (values[PLAN.firstStep] === -1) values[PLAN.firstStep] = cycle === 0 ? step : step + 1;
    [this.#next, this.#spare] = [this.#spare, this.#next];
    this.#next.isUsed = true;
  }

  /** Drop all plans that have been seen. */
  forget(): void {
    this.#current.isUsed = this.#next.isUsed = this.#isFollowing = false;
  }

  /** Say that this cycle does not follow the plan, even if there is one. */
  pause(): void {
    this.#isFollowing = false;
  }

  /** Whether the plan that has begun has a target for a step; then {@link want} may be called. */
  hasTarget(step: number): boolean {
    return this.#indexOf(step) >= 0;
  }

  /** Position of a step in the plan that has begun; −1 if it has no target for it. */
  #indexOf(step: number): number {
    const { isUsed, values } = this.#current;
    const index = step - values[PLAN.firstStep];
    return isUsed && index >= 0 && index < values[PLAN.steps] ? index : -1;
  }

  /**
   * Follow the plan for one cycle.
   *
   * @param step Control step of this cycle.
   * @param cycle Place of this cycle in that step, from 0.
   * @param command The last command `[14]`: where the way to the first target begins.
   * @param out Receives what is wanted `[14]`: rad, grippers 0–1; whatever the plan holds, NaN too.
   * @returns Position in the plan; −1 if it has no target for this step, and `out` is unchanged then.
   */
  want(step: number, cycle: number, command: Float64Array, out: Float64Array): number {
    const index = this.#indexOf(step);
    if (index < 0) {
      this.#isFollowing = false;
      return -1;
    }
    const { values } = this.#current;
    const id = values[PLAN.id], isNewStep = step !== this.#step;
    if (!this.#isFollowing || isNewStep || id !== this.#id) {
      this.#startLine(command);
      // Cycles that were skipped count: the target is reached in the last cycle all the same.
      this.#fromCycle = this.#isFollowing && isNewStep ? 0 : cycle;
      this.#isFollowing = true;
      this.#step = step;
      this.#id = id;
    }
    const share = (cycle - this.#fromCycle + 1) / (this.#cyclesPerStep - this.#fromCycle);
    const at = PLAN.targets + index * ALOHA_DIM;
    for (let i = 0; i < ALOHA_DIM; i++) {
      const target = values[at + i], from = this.#from[i];
      out[i] = this.#wanted[i] = share === 1 ? target : from + (target - from) * share;
    }
    return index;
  }

  #startLine(command: Float64Array): void {
    for (let i = 0; i < ALOHA_DIM; i++) {
      const wanted = this.#wanted[i];
      // A NaN must not spread from the target that had it to the next one.
      this.#from[i] = this.#isFollowing && Number.isFinite(wanted) ? wanted : command[i];
    }
  }
}

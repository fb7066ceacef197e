/**
 * How far arms are from the motion that they were to make.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, JOINTS_PER_ARM, STATE_NAMES } from "../../common/robot/aloha.ts";
import { gripperCommandToRad, gripperRadToState } from "../../controller/arms/units.ts";
import { MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { CLAMP_BIT, CLAMP_KINDS, type ClampKind } from "../../controller/safety/clamp_counts.ts";

/** Comparison of a motion with what was measured. */
export interface TrackingReport {
  /** Control steps that were compared. */
  readonly steps: number;
  /** Root mean square of the difference `[14]`: rad, or openings of a gripper 0–1. */
  readonly rms: readonly number[];
  /** Largest difference `[14]`, in the same units. */
  readonly max: readonly number[];
  /** Cycles in which the safety filter changed the command, in any way. */
  readonly clampedCycles: number;
  /** Those cycles by number and kind; only what is above 0. */
  readonly clamps: Readonly<Record<string, Readonly<Partial<Record<ClampKind, number>>>>>;
  /** Cycles in which the filter held the whole robot for its workspace. */
  readonly workspaceHolds: number;
}

/** The code of a refusal for the workspace in `MOTION_RECORD.refusal`. */
const WORKSPACE_REFUSAL = 2;

/** Compares, record by record. */
export class Tracking {
  readonly #targets: Float32Array;
  readonly #squares = new Float64Array(ALOHA_DIM);
  readonly #max = new Float64Array(ALOHA_DIM);
  readonly #clamps: Record<string, Partial<Record<ClampKind, number>>> = {};
  #steps = 0;
  #clampedCycles = 0;
  #workspaceHolds = 0;

  /** Begin. @param targets The motion `[n, 14]`: rad, grippers as commands 0–1. */
  constructor(targets: Float32Array) {
    this.#targets = targets;
  }

  /**
   * Compare one cycle. Positions are compared at the end of a control step, when its target is due.
   *
   * @param record As `MOTION_RECORD`.
   * @param step Step of the motion that the cycle executed, from 0.
   */
  add(record: Float64Array, step: number): void {
    let isClamped = record[MOTION_RECORD.refusal] !== 0;
    if (record[MOTION_RECORD.refusal] === WORKSPACE_REFUSAL) this.#workspaceHolds++;
    for (let i = 0; i < ALOHA_DIM; i++) {
      const mask = record[MOTION_RECORD.clamps + i];
      if (mask === 0) continue;
      isClamped = true;
      const counts = this.#clamps[STATE_NAMES[i]] ??= {};
      for (const kind of CLAMP_KINDS) {
        if (mask & CLAMP_BIT[kind]) counts[kind] = (counts[kind] ?? 0) + 1;
      }
    }
    if (isClamped) this.#clampedCycles++;
    if (record[MOTION_RECORD.isStepEnd] === 1) this.#compare(record, step);
  }

  /** The comparison so far; zeros before the first step. */
  report(): TrackingReport {
    const steps = this.#steps;
    return {
      steps,
      rms: Array.from(this.#squares, (sum) => steps === 0 ? 0 : Math.sqrt(sum / steps)),
      max: Array.from(this.#max),
      clampedCycles: this.#clampedCycles,
      clamps: this.#clamps,
      workspaceHolds: this.#workspaceHolds,
    };
  }

  #compare(record: Float64Array, step: number): void {
    const at = step * ALOHA_DIM;
    if (at < 0 || at >= this.#targets.length) return;
    this.#steps++;
    for (let i = 0; i < ALOHA_DIM; i++) {
      const command = this.#targets[at + i];
      // What is measured of a gripper is its opening, which is no line of its command.
      const target = i % ARM_DIM === JOINTS_PER_ARM
        ? gripperRadToState(gripperCommandToRad(command))
        : command;
      const difference = Math.abs(target - record[MOTION_RECORD.measured + i]);
      this.#squares[i] += difference ** 2;
      this.#max[i] = Math.max(this.#max[i], difference);
    }
  }
}

/**
 * What both arms report, and whether something is wrong with it for too long.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { ticksToCommand, ticksToState } from "../arms/units.ts";
import { CURRENT_UNIT_MA } from "../dynamixel/control_table.ts";
import { type BusMemory, STATE } from "../dynamixel/thread/bus_memory.ts";
import { MOVING_NAMES, type SafetyLimits } from "../safety/limits.ts";
import { SharedRecord } from "../threads/shared_record.ts";

/** Longest silence of an arm or of one of its goal servos, in ms: five control steps. */
export const MAX_SILENCE_MS = 100;
/**
 * How long a joint may draw more than its limit or be off its command, in ms: longer than the start of
 * a motion or a light touch, shorter than it takes a stalled motor to get hot.
 */
export const MAX_STRAIN_MS = 500;
/**
 * Largest distance of a joint from its command, in rad. At its full 2.5 rad/s a joint lags behind by
 * about a tenth of a second; a gripper is exempt, as it closes on things.
 */
export const MAX_OFF_TRACK_RAD = 0.35;

/** Something that went wrong. */
export interface Finding {
  /** Index of the number (0–13) or of the arm (0–1) to blame; −1: nothing is wrong. */
  culprit: number;
  /** What was measured of it: mA, rad or ms. */
  measured: number;
  /** What is allowed. */
  allowed: number;
}

/** A finding of nothing. */
export function noFinding(): Finding {
  return { culprit: -1, measured: 0, allowed: 0 };
}

/** Both arms' states. */
export class ArmWatch {
  /** Measured poses as commands `[14]`: rad, grippers 0–1 by angle. NaN of an arm never heard. */
  readonly pose: Float64Array = new Float64Array(ALOHA_DIM).fill(NaN);
  /** Measured poses as ALOHA's state `[14]`: rad, grippers 0–1 by opening. NaN of an arm never heard. */
  readonly state: Float64Array = new Float64Array(ALOHA_DIM).fill(NaN);
  readonly #records: readonly SharedRecord[];
  readonly #values = new Float64Array(STATE.length);
  readonly #ticks = this.#values.subarray(STATE.positionTicks, STATE.positionTicks + ARM_DIM);
  readonly #timeMs = new Float64Array(ARM_NAMES.length).fill(-Infinity);
  readonly #answeredMs = new Float64Array(ALOHA_DIM).fill(-Infinity);
  readonly #currentMa = new Float64Array(ALOHA_DIM);
  readonly #currentLimitMa: Float64Array;
  /** Since when a limit has been exceeded; NaN: it is not. */
  readonly #overCurrentMs = new Float64Array(ALOHA_DIM).fill(NaN);
  readonly #offTrackMs = new Float64Array(ALOHA_DIM).fill(NaN);

  /**
   * Watch the arms.
   *
   * @param buses Memory of both buses.
   * @param limits Limits in force, for the currents.
   */
  constructor(
    buses: Readonly<Record<"left" | "right", BusMemory>>,
    limits: SafetyLimits,
  ) {
    this.#records = ARM_NAMES.map((arm) => new SharedRecord(buses[arm].state));
    this.#currentLimitMa = Float64Array.from(
      ARM_NAMES.flatMap((arm) => MOVING_NAMES.map((name) => limits.arms[arm][name].currentMa)),
    );
  }

  /**
   * Read both arms' states. Call it once a cycle.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   */
  look(nowMs: number): void {
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      if (!this.#records[arm].read(this.#values)) continue;
      const timeMs = this.#values[STATE.timeMs];
      if (timeMs === this.#timeMs[arm] || !Number.isFinite(timeMs)) continue;
      this.#timeMs[arm] = timeMs;
      // If the system's clock was set while threads started, theirs differ: then an arm may seem silent,
      // but never heard in the future, which would hide its silence.
      this.#take(arm, Math.min(timeMs, nowMs));
    }
  }

  #take(arm: number, timeMs: number): void {
    const values = this.#values, offset = arm * ARM_DIM;
    ticksToCommand(this.#ticks, ARM_NAMES[arm], this.pose);
    ticksToState(this.#ticks, ARM_NAMES[arm], this.state);
    for (let servo = 0; servo < ARM_DIM; servo++) {
      const i = offset + servo;
      const hasAnswered = (values[STATE.answered] & (1 << servo)) !== 0;
      if (!hasAnswered || !Number.isFinite(this.pose[i])) continue;
      this.#answeredMs[i] = timeMs;
      this.#currentMa[i] = Math.abs(values[STATE.current + servo]) * CURRENT_UNIT_MA;
      if (!(this.#currentMa[i] > this.#currentLimitMa[i])) this.#overCurrentMs[i] = NaN;
      else if (Number.isNaN(this.#overCurrentMs[i])) this.#overCurrentMs[i] = timeMs;
    }
  }

  /**
   * Age of the older arm's state.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @returns Age in ms; infinite when an arm was never heard.
   */
  stateAgeMs(nowMs: number): number {
    return Math.max(0, nowMs - Math.min(this.#timeMs[0], this.#timeMs[1]));
  }

  /**
   * Find an arm that is silent, or has a goal servo that is.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @param out Receives the arm that has been silent for longest, if that is too long.
   * @returns Whether one is.
   */
  findSilent(nowMs: number, out: Finding): boolean {
    let oldest = 0;
    for (let i = 1; i < ALOHA_DIM; i++) {
      if (this.#answeredMs[i] < this.#answeredMs[oldest]) oldest = i;
    }
    const silentMs = nowMs - this.#answeredMs[oldest];
    if (silentMs <= MAX_SILENCE_MS) return false;
    blame(out, oldest < ARM_DIM ? 0 : 1, silentMs, MAX_SILENCE_MS);
    return true;
  }

  /**
   * Find a joint that has drawn more current than its limit for too long without a break.
   *
   * @param out Receives it.
   * @returns Whether there is one.
   */
  findOverCurrent(out: Finding): boolean {
    for (let i = 0; i < ALOHA_DIM; i++) {
      if (!(this.#answeredMs[i] - this.#overCurrentMs[i] > MAX_STRAIN_MS)) continue;
      blame(out, i, this.#currentMa[i], this.#currentLimitMa[i]);
      return true;
    }
    return false;
  }

  /**
   * Find a joint that has been off its command for too long without a break. The times are those of the
   * answers: a silent servo's old position says nothing about where it is.
   *
   * @param command The last command `[14]`.
   * @param out Receives it.
   * @returns Whether there is one.
   */
  findOffTrack(command: Float64Array, out: Finding): boolean {
    for (let i = 0; i < ALOHA_DIM; i++) {
      if (i % ARM_DIM === JOINTS_PER_ARM) continue;
      const heardMs = this.#answeredMs[i];
      const distance = Math.abs(command[i] - this.pose[i]);
      if (!(distance > MAX_OFF_TRACK_RAD)) this.#offTrackMs[i] = NaN;
      else if (Number.isNaN(this.#offTrackMs[i])) this.#offTrackMs[i] = heardMs;
      else if (heardMs - this.#offTrackMs[i] > MAX_STRAIN_MS) {
        blame(out, i, distance, MAX_OFF_TRACK_RAD);
        return true;
      }
    }
    return false;
  }

  /** Forget for how long anything has been too much; positions and times stay. */
  restart(): void {
    this.#overCurrentMs.fill(NaN);
    this.#offTrackMs.fill(NaN);
  }
}

function blame(out: Finding, culprit: number, measured: number, allowed: number): void {
  out.culprit = culprit;
  out.measured = measured;
  out.allowed = allowed;
}

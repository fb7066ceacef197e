/**
 * Whether the motion thread moves the arms or holds their pose, and why: every rule, in order.
 *
 * @module
 */

import { type ArmWatch, type Finding, noFinding } from "./arm_watch.ts";
import { HOLD_REASONS, type HoldReason } from "./motion_memory.ts";

/** Longest time without a sign of life of the main thread, in ms: it hears emergency stops. */
export const MAX_MAIN_SILENCE_MS = 250;

/** What the rules look at besides the arms. */
export interface Situation {
  /** The time, in ms of `sharedNowMs`. */
  nowMs: number;
  /** Whether an emergency stop is in force. */
  isStopped: boolean;
  /** When the main thread last showed that it is alive, in ms of `sharedNowMs`. */
  aliveMs: number;
  /** Whether the main thread wants the pose to be held. */
  isHoldOrdered: boolean;
  /** Whether a restart is outstanding. */
  isRestartOrdered: boolean;
  /** Whether the plan has a target for this step. */
  hasTarget: boolean;
}

/** Index of a reason in {@link HOLD_REASONS}, which is what records and status hold. */
export function holdIndex(reason: HoldReason): number {
  return HOLD_REASONS.indexOf(reason);
}

/** Remembers what has gone wrong until a restart. */
export class HoldDecision {
  readonly #arms: ArmWatch;
  readonly #isDryRun: boolean;
  #phase: "new" | "started" | "stopped" = "new";
  readonly #overCurrent = noFinding();
  readonly #offTrack = noFinding();
  readonly #silent = noFinding();
  readonly #waiting = noFinding();
  readonly #nothing = noFinding();
  #finding: Readonly<Finding> = this.#nothing;

  /**
   * Begin: nothing moves before the first restart.
   *
   * @param arms What the arms report.
   * @param isDryRun Whether the servos have no torque, so that nothing can follow a command.
   */
  constructor(arms: ArmWatch, isDryRun: boolean) {
    this.#arms = arms;
    this.#isDryRun = isDryRun;
  }

  /** Whether setpoints are made at all: from a restart to the next emergency stop. */
  get isStarted(): boolean {
    return this.#phase === "started";
  }

  /** Who is to blame for what {@link decide} said. */
  get finding(): Readonly<Finding> {
    return this.#finding;
  }

  /**
   * Begin anew, if both arms are heard.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @returns Whether it was done: all that had gone wrong is forgotten.
   */
  restart(nowMs: number): boolean {
    this.#waiting.culprit = -1;
    if (this.#arms.findSilent(nowMs, this.#waiting)) return false;
    this.#arms.restart();
    this.#phase = "started";
    this.#overCurrent.culprit = this.#offTrack.culprit = this.#silent.culprit = -1;
    return true;
  }

  /**
   * Apply the rules.
   *
   * @param situation What is the case in this cycle.
   * @param command The last command `[14]`.
   * @returns The first reason that applies; "none": the plan is to be followed.
   */
  decide(situation: Readonly<Situation>, command: Float64Array): HoldReason {
    this.#finding = this.#nothing;
    if (situation.isStopped) {
      if (this.#phase === "started") this.#phase = "stopped";
      return this.#phase === "new" ? "not started" : "emergency stop";
    }
    if (this.#phase !== "started") {
      if (situation.isRestartOrdered) this.#finding = this.#waiting;
      return "not started";
    }
    this.#watch(situation.nowMs, command);
    if (this.#blames(this.#overCurrent)) return "over-current";
    if (this.#blames(this.#offTrack)) return "off track";
    if (this.#blames(this.#silent)) return "arm silent";
    if (!(situation.nowMs - situation.aliveMs <= MAX_MAIN_SILENCE_MS)) return "main thread silent";
    // A restart waits until nothing moves any more.
    if (situation.isHoldOrdered || situation.isRestartOrdered) return "ordered";
    return situation.hasTarget ? "none" : "no plan";
  }

  /** Latch what is wrong now. */
  #watch(nowMs: number, command: Float64Array): void {
    const arms = this.#arms;
    if (this.#overCurrent.culprit < 0) arms.findOverCurrent(this.#overCurrent);
    if (this.#offTrack.culprit < 0 && !this.#isDryRun) {
      arms.findOffTrack(command, this.#offTrack);
    }
    if (this.#silent.culprit < 0) arms.findSilent(nowMs, this.#silent);
  }

  #blames(finding: Finding): boolean {
    if (finding.culprit < 0) return false;
    this.#finding = finding;
    return true;
  }
}

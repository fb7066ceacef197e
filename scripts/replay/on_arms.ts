/**
 * Plays a plan on arms: in pieces, each of which is handed over while the one before runs.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { MAX_PLAN_STEPS, MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import type { MotionStatus } from "../../controller/motion/motion_status.ts";
import { describeHold } from "../../controller/motion/motion_status.ts";
import type { MotionThread } from "../../controller/motion/motion_thread.ts";
import { Tracking, type TrackingReport } from "./tracking.ts";

/** Time between two looks at the motion thread, in ms. */
const POLL_MS = 10;

/** How a plan is followed. */
export interface PieceOptions {
  /** Ends it by throwing its reason. */
  readonly signal: AbortSignal;
  /** Most steps of a piece, 2…{@link MAX_PLAN_STEPS}, which it is unless told. */
  readonly pieceSteps?: number;
}

/** What following plans needs of the motion thread. */
export type Follower = Pick<MotionThread, "follow" | "status">;

/** A motion on its way. One that is too long for a plan is followed in pieces that join. */
export class PieceFollower {
  readonly #motion: Follower;
  readonly #targets: Float32Array;
  readonly #tracking: Tracking;
  /** Which step of the motion each plan begins with, by the plan's number. */
  readonly #pieces = new Map<number, number>();

  /**
   * Nothing moves yet.
   *
   * @param motion The thread that moves the arms, which stand at the first target.
   * @param targets Absolute targets at 50 Hz `[n, 14]`: rad, grippers 0–1.
   */
  constructor(motion: Follower, targets: Float32Array) {
    this.#motion = motion;
    this.#targets = targets;
    this.#tracking = new Tracking(targets);
  }

  /** Take a record of the motion thread; those of other plans are left alone. */
  record(record: Float64Array): void {
    const first = this.#pieces.get(record[MOTION_RECORD.planId]);
    if (first === undefined || record[MOTION_RECORD.planIndex] < 0) return;
    this.#tracking.add(record, first + record[MOTION_RECORD.planIndex]);
  }

  /** How far the arms have been from the motion. */
  report(): TrackingReport {
    return this.#tracking.report();
  }

  /**
   * Make the whole motion.
   *
   * @param options Signal and length of the pieces.
   * @throws {Error} The arms hold for a reason of their own; or the signal's reason.
   */
  async run({ signal, pieceSteps = MAX_PLAN_STEPS }: PieceOptions): Promise<void> {
    const steps = this.#targets.length / ALOHA_DIM;
    let firstStep = -1;
    for (let from = 0; from < steps; from += pieceSteps) {
      signal.throwIfAborted();
      const piece = this.#targets.subarray(from * ALOHA_DIM, (from + pieceSteps) * ALOHA_DIM);
      const id = this.#motion.follow(piece, firstStep);
      this.#pieces.set(id, from);
      // The thread keeps one plan that has begun and one that has not: the next piece may come once
      // this one has begun.
      const { planFirstStep } = await this.#until(id, signal, (s) => s.step >= s.planFirstStep);
      firstStep = planFirstStep + pieceSteps;
      if (from + pieceSteps >= steps) {
        await this.#until(id, signal, (s) => s.stepsLeft === 0 && s.hold === "no plan");
      }
    }
  }

  async #until(
    id: number,
    signal: AbortSignal,
    isTrue: (status: MotionStatus) => boolean,
  ): Promise<MotionStatus> {
    for (let isSeen = false;;) {
      const status = this.#motion.status();
      isSeen ||= status.planId === id;
      if (status.planId === id && isTrue(status)) return status;
      // A piece that has not been seen yet leaves the status of the one before it.
      const isInOrder = status.hold === "none" || status.hold === "no plan";
      if ((isSeen && status.planId !== id) || !isInOrder) {
        throw new Error(`The arms have stopped on their way: ${describeHold(status)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      signal.throwIfAborted();
    }
  }
}

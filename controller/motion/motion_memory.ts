/**
 * What the motion thread shares with the main thread, and how its numbers are laid out.
 *
 * The main thread writes plans and orders; the motion thread writes its status, the counts of clamps and
 * one record for every cycle. Control steps of 20 ms are numbered from 0 at the thread's start and go on
 * whether anything moves or not.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { CLAMP_COUNTS_LENGTH } from "../safety/clamp_counts.ts";
import { createRecordMemory, type SharedRecordMemory } from "../threads/shared_record.ts";
import { createRingMemory, type SharedRingMemory } from "../threads/shared_ring.ts";

/** Most control steps of a plan: 10 s at 50 Hz. */
export const MAX_PLAN_STEPS = 512;

/**
 * Where the numbers of a plan are. A new plan replaces the one before as a whole; until its first step
 * begins, that one goes on, so that nothing stops in between.
 */
export const PLAN = {
  /** Its number, from 1, growing. */
  id: 0,
  /** Control step at which its first target is due; −1: the first one to begin once the thread sees it. */
  firstStep: 1,
  /** Control steps, 1…{@link MAX_PLAN_STEPS}. After the last one the pose is held. */
  steps: 2,
  /** Absolute targets `[steps, 14]`: rad, grippers 0–1. */
  targets: 3,
  /** Numbers in all. */
  length: 3 + MAX_PLAN_STEPS * ALOHA_DIM,
} as const;

/** What the main thread wants: to hold the pose, or to execute plans. */
export const ORDER_MODES = { hold: 0, follow: 1 } as const;

/** Where the numbers of an order are. */
export const ORDER = {
  /** One of {@link ORDER_MODES}. */
  mode: 0,
  /**
   * Above the status' `restarts` to make the motion thread begin anew, at rest, from where the arms are;
   * not above it to withdraw that.
   */
  restarts: 1,
  /** When the main thread last showed that it is alive, in ms of `sharedNowMs`. */
  aliveMs: 2,
  /**
   * Where a restart begins `[14]`, as commands: the goals that servos with torque hold. NaN, or farther
   * than a joint may be off its track, begins from what is measured.
   */
  goals: 3,
  /** Numbers in all. */
  length: 3 + ALOHA_DIM,
} as const;

/** Why the motion thread holds the pose; the first that applies, in this order. */
export const HOLD_REASONS = [
  /** It does not hold: a plan is being executed. */
  "none",
  /** No restart has been ordered yet, or it could not be done since an arm is silent. */
  "not started",
  /** An emergency stop is in force. */
  "emergency stop",
  /** A joint drew too much current for too long; until the next restart. */
  "over-current",
  /** A joint is too far from its command for too long; until the next restart. */
  "off track",
  /** An arm has not been heard for too long; until the next restart. */
  "arm silent",
  /** The main thread has not been heard for too long; until it is back, and then plans anew. */
  "main thread silent",
  /** The main thread wants it. */
  "ordered",
  /** No plan has come, or the last one has ended: the next chunk is late, or there is none. */
  "no plan",
] as const;

/** One of {@link HOLD_REASONS}. */
export type HoldReason = (typeof HOLD_REASONS)[number];

/** Where the numbers of the motion thread's status are. */
export const MOTION_STATUS = {
  /** Control step that is being executed. */
  step: 0,
  /** Number of the newest plan that the thread has seen and not forgotten; 0: none. */
  planId: 1,
  /** Control step at which that plan began, or will. */
  planFirstStep: 2,
  /** Control steps of that plan that are still to come, the present one not counted. */
  stepsLeft: 3,
  /** Index in {@link HOLD_REASONS}. */
  hold: 4,
  /** Restarts done: the order's `restarts` when the last one was done. */
  restarts: 5,
  /**
   * Index of the number to blame for "over-current" or "off track" (0–13), or of the arm for "arm silent"
   * and for a restart that waits for it ("not started") (0–1); −1: none.
   */
  culprit: 6,
  /** What was measured of the culprit: mA, rad, or ms of silence (infinite if it was never heard). */
  measured: 7,
  /** What is allowed. */
  allowed: 8,
  /** Cycles that ran. */
  cycles: 9,
  /** Cycles that were skipped because the thread woke too late. */
  missed: 10,
  /** Records that were dropped because the main thread did not take them. */
  droppedRecords: 11,
  /** The last command that left the safety filter `[14]`; NaN before the first restart. */
  command: 12,
  /** Whether all of that command stands still: 1 or 0. */
  isStill: 12 + ALOHA_DIM,
  /** Numbers in all. */
  length: 13 + ALOHA_DIM,
} as const;

/** Where the numbers of one cycle's record are. */
export const MOTION_RECORD = {
  /** When the command was made, in ms of `sharedNowMs`. */
  timeMs: 0,
  /** Control step. */
  step: 1,
  /** 1 in the last cycle of a control step, else 0. */
  isStepEnd: 2,
  /** Number of the plan that was executed; 0 while holding. */
  planId: 3,
  /** Position in that plan; −1 while holding. */
  planIndex: 4,
  /** Index in {@link HOLD_REASONS}. */
  hold: 5,
  /** 1: the filter refused the whole command for its numbers, 2: for the workspace; else 0. */
  refusal: 6,
  /**
   * 1: the motion began anew with this cycle, at rest, from the servos' goals or from where they are;
   * else 0. From the command before, to this one, nothing has moved.
   */
  isRestart: 7,
  /** Age of the older arm's state, in ms. */
  stateAgeMs: 8,
  /** What was wanted `[14]`: rad, grippers 0–1; while holding, the command. NaN before a restart. */
  wanted: 9,
  /** What left the safety filter `[14]`; NaN before the first restart. */
  command: 9 + ALOHA_DIM,
  /** What was measured `[14]`: rad, grippers as their linear opening 0–1; NaN of an arm never heard. */
  measured: 9 + 2 * ALOHA_DIM,
  /** Bits of `CLAMP_BIT` `[14]`. */
  clamps: 9 + 3 * ALOHA_DIM,
  /** Numbers in all. */
  length: 9 + 4 * ALOHA_DIM,
} as const;

/** Records that wait for the main thread: 10 s at 200 Hz. */
const RING_RECORDS = 2048;

/** Memory of the motion thread; can be posted to a Worker. */
export interface MotionMemory {
  /** {@link PLAN}. */
  readonly plan: SharedRecordMemory;
  /** {@link ORDER}. */
  readonly order: SharedRecordMemory;
  /** {@link MOTION_STATUS}. */
  readonly status: SharedRecordMemory;
  /** {@link CLAMP_COUNTS_LENGTH} doubles. */
  readonly clampCounts: SharedRecordMemory;
  /** {@link MOTION_RECORD}, one a cycle. */
  readonly records: SharedRingMemory;
}

/** Fresh memory. */
export function createMotionMemory(): MotionMemory {
  return {
    plan: createRecordMemory(PLAN.length),
    order: createRecordMemory(ORDER.length),
    status: createRecordMemory(MOTION_STATUS.length),
    clampCounts: createRecordMemory(CLAMP_COUNTS_LENGTH),
    records: createRingMemory(MOTION_RECORD.length, RING_RECORDS),
  };
}

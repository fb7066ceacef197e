/**
 * What a step log tells in a few numbers.
 *
 * @module
 */

import { ALOHA_DIM, STATE_NAMES } from "../../common/robot/aloha.ts";
import { HOLD_REASONS, type HoldReason, MOTION_RECORD } from "../motion/motion_memory.ts";
import { CLAMP_KINDS, type ClampKind } from "../safety/clamp_counts.ts";
import { EVENT_KINDS, type EventKind } from "./layout.ts";
import type { IncompleteTail, StepLog, StepLogEvent } from "./reader.ts";

/** Cycles farther apart than this many periods have a gap between them: at least one was missed. */
const GAP_PERIODS = 1.5;

/** How often and how long the pose was held for one reason. */
export interface HoldCount {
  /** Times that it began. */
  readonly times: number;
  /** Cycles in all. */
  readonly cycles: number;
}

/** Time between cycles that should have been filled. */
export interface GapReport {
  /** How many. */
  readonly count: number;
  /** The longest time between two cycles, gap or not, in ms. */
  readonly longestMs: number;
  /** When that one began, in s since the first cycle. */
  readonly longestAtS: number;
}

/** A log in a few numbers. */
export interface StepLogSummary {
  /** Time from the first cycle to the last, in s. */
  readonly durationS: number;
  /** Cycles. */
  readonly cycles: number;
  /** Cycles a second; 0 for fewer than two cycles. */
  readonly rateHz: number;
  /** Plans that were begun. */
  readonly chunks: number;
  /** Holds by reason: only what occurred. */
  readonly holds: Readonly<Partial<Record<HoldReason, HoldCount>>>;
  /** Cycles whose command was clamped at any joint. */
  readonly clampedCycles: number;
  /** Cycles by joint and kind of clamp: only what occurred. */
  readonly clamps: Readonly<Record<string, Readonly<Partial<Record<ClampKind, number>>>>>;
  /** Cycles whose whole command was refused: for its numbers, or for the workspace. */
  readonly refusals: { readonly notFinite: number; readonly workspace: number };
  /**
   * Largest distance of the measured number from the command of the same cycle `[14]`, in rad or
   * openings, once the motion had started; it holds the servo's lag as well.
   */
  readonly maxTrackingError: readonly number[];
  /** Oldest state that a command was made with, in ms. */
  readonly maxStateAgeMs: number;
  /** Gaps in time. */
  readonly gaps: GapReport;
  /** Events by kind; every kind is there. */
  readonly eventCounts: Readonly<Record<EventKind, number>>;
  /** Every event. */
  readonly events: readonly StepLogEvent[];
  /** What the log ends in if its writer was killed. */
  readonly incompleteTail: IncompleteTail | null;
}

/**
 * Sum a log up.
 *
 * @param log The log.
 */
export function summarize(log: StepLog): StepLogSummary {
  const { cycles, timesMs, events } = log;
  const record = new Float64Array(MOTION_RECORD.length);
  const holdTimes = new Float64Array(HOLD_REASONS.length);
  const holdCycles = new Float64Array(HOLD_REASONS.length);
  const clampCounts = new Float64Array(ALOHA_DIM * CLAMP_KINDS.length);
  const refusals = [0, 0, 0];
  const maxTrackingError = new Array<number>(ALOHA_DIM).fill(0);
  let chunks = 0, clampedCycles = 0, maxStateAgeMs = 0, lastHold = 0, lastPlan = 0;
  for (let i = 0; i < cycles; i++) {
    log.read(i, record);
    const hold = record[MOTION_RECORD.hold], plan = record[MOTION_RECORD.planId];
    holdCycles[hold]++;
    if (i === 0 || hold !== lastHold) holdTimes[hold]++;
    if (plan !== 0 && plan !== lastPlan) chunks++;
    if (plan !== 0) lastPlan = plan;
    lastHold = hold;
    refusals[record[MOTION_RECORD.refusal]]++;
    maxStateAgeMs = Math.max(maxStateAgeMs, record[MOTION_RECORD.stateAgeMs]);
    if (countClamps(record, clampCounts)) clampedCycles++;
    if (HOLD_REASONS[hold] !== "not started") noteTrackingError(record, maxTrackingError);
  }
  const durationS = cycles < 2 ? 0 : (timesMs[cycles - 1] - timesMs[0]) / 1000;
  return {
    durationS,
    cycles,
    rateHz: durationS > 0 ? (cycles - 1) / durationS : 0,
    chunks,
    holds: Object.fromEntries(
      HOLD_REASONS.map((reason, i) => [reason, { times: holdTimes[i], cycles: holdCycles[i] }])
        .filter(([reason, count]) => reason !== "none" && (count as HoldCount).cycles > 0),
    ),
    clampedCycles,
    clamps: clampsByJoint(clampCounts),
    refusals: { notFinite: refusals[1], workspace: refusals[2] },
    maxTrackingError,
    maxStateAgeMs,
    gaps: gapsOf(timesMs, 1000 / log.header.rateHz),
    eventCounts: Object.fromEntries(
      EVENT_KINDS.map((kind) => [kind, events.filter((event) => event.kind === kind).length]),
    ) as Record<EventKind, number>,
    events,
    incompleteTail: log.incompleteTail,
  };
}

/** Count a cycle's clamps; whether it has any. */
function countClamps(record: Float64Array, counts: Float64Array): boolean {
  let all = 0;
  for (let i = 0; i < ALOHA_DIM; i++) {
    const mask = record[MOTION_RECORD.clamps + i];
    all |= mask;
    for (let kind = 0; kind < CLAMP_KINDS.length; kind++) {
      if (mask & 1 << kind) counts[i * CLAMP_KINDS.length + kind]++;
    }
  }
  return all !== 0;
}

function clampsByJoint(counts: Float64Array): StepLogSummary["clamps"] {
  const byJoint: Record<string, Partial<Record<ClampKind, number>>> = {};
  STATE_NAMES.forEach((name, i) => {
    CLAMP_KINDS.forEach((kind, k) => {
      const count = counts[i * CLAMP_KINDS.length + k];
      if (count > 0) (byJoint[name] ??= {})[kind] = count;
    });
  });
  return byJoint;
}

/** Numbers that no servo has answered yet (NaN) do not count. */
function noteTrackingError(record: Float64Array, max: number[]): void {
  for (let i = 0; i < ALOHA_DIM; i++) {
    const error = Math.abs(record[MOTION_RECORD.command + i] - record[MOTION_RECORD.measured + i]);
    if (error > max[i] && error < Infinity) max[i] = error;
  }
}

function gapsOf(timesMs: Float64Array, periodMs: number): GapReport {
  let count = 0, longestMs = 0, longestAtS = 0;
  for (let i = 1; i < timesMs.length; i++) {
    const elapsedMs = timesMs[i] - timesMs[i - 1];
    if (elapsedMs > GAP_PERIODS * periodMs) count++;
    if (elapsedMs > longestMs) {
      longestMs = elapsedMs;
      longestAtS = (timesMs[i - 1] - timesMs[0]) / 1000;
    }
  }
  return { count, longestMs, longestAtS };
}

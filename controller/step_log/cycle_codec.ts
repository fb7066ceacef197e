/**
 * A cycle's record, 65 doubles in memory, as 200 bytes of a step log and back.
 *
 * Poses lose what float32 loses (1.2e-7 rad at 1 rad, a ten-thousandth of a servo's tick), times are
 * rounded to 1 µs and the age of the state to 0.1 ms; everything else comes back as it was.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { HOLD_REASONS, MAX_PLAN_STEPS, MOTION_RECORD } from "../motion/motion_memory.ts";
import { CYCLE, ENTRY_TAG } from "./layout.ts";

const MAX_UINT32 = 0xffff_ffff;
const MAX_UINT16 = 0xffff;
const STATE_AGE_PER_MS = 10;
const HOLD_BITS = 0x0f;
const REFUSAL_SHIFT = 4;
const REFUSAL_BITS = 0x03;
const STEP_END_BIT = 0x40;
const RESTART_BIT = 0x80;
/** All kinds of clamps. */
const CLAMP_BITS = 0x7f;

/** The poses of a cycle: where they are in a record and in an entry. */
const POSES: readonly (readonly [record: number, entry: number])[] = [
  [MOTION_RECORD.wanted, CYCLE.wanted],
  [MOTION_RECORD.command, CYCLE.command],
  [MOTION_RECORD.measured, CYCLE.measured],
];

/** A whole number in 0…max; what is no number is 0. */
function bounded(value: number, max: number): number {
  return value > 0 ? Math.min(Math.round(value), max) : 0;
}

/**
 * Write a cycle. A record is never refused: what does not fit its field becomes the nearest that does.
 *
 * @param record `MOTION_RECORD`.
 * @param previousUs The time up to which the cycles before it add up, in µs since the log's start.
 * @param startMs The log's start, in ms since 1970.
 * @param out Receives {@link CYCLE}'s bytes.
 * @param at First byte in `out`.
 * @returns The time up to which the cycles add up now, in µs since the log's start.
 */
export function encodeCycle(
  record: Float64Array,
  previousUs: number,
  startMs: number,
  out: DataView,
  at: number,
): number {
  const deltaUs = bounded((record[MOTION_RECORD.timeMs] - startMs) * 1000 - previousUs, MAX_UINT32);
  const planIndex = record[MOTION_RECORD.planIndex];
  out.setUint8(at, ENTRY_TAG.cycle);
  out.setUint8(
    at + CYCLE.flags,
    bounded(record[MOTION_RECORD.hold], HOLD_REASONS.length - 1) |
      bounded(record[MOTION_RECORD.refusal], 2) << REFUSAL_SHIFT |
      (record[MOTION_RECORD.isStepEnd] === 0 ? 0 : STEP_END_BIT) |
      (record[MOTION_RECORD.isRestart] === 0 ? 0 : RESTART_BIT),
  );
  out.setInt16(
    at + CYCLE.planIndex,
    planIndex < 0 ? -1 : bounded(planIndex, MAX_PLAN_STEPS - 1),
    true,
  );
  out.setUint32(at + CYCLE.deltaUs, deltaUs, true);
  out.setUint32(at + CYCLE.step, bounded(record[MOTION_RECORD.step], MAX_UINT32), true);
  out.setUint32(at + CYCLE.planId, bounded(record[MOTION_RECORD.planId], MAX_UINT32), true);
  out.setUint16(
    at + CYCLE.stateAge,
    bounded(record[MOTION_RECORD.stateAgeMs] * STATE_AGE_PER_MS, MAX_UINT16),
    true,
  );
  for (let i = 0; i < ALOHA_DIM; i++) {
    out.setUint8(at + CYCLE.clamps + i, record[MOTION_RECORD.clamps + i] & CLAMP_BITS);
  }
  for (const [from, to] of POSES) {
    for (let i = 0; i < ALOHA_DIM; i++) out.setFloat32(at + to + 4 * i, record[from + i], true);
  }
  return previousUs + deltaUs;
}

/**
 * What is wrong with a cycle's bytes.
 *
 * @param bytes The log.
 * @param at First byte of the entry, all of whose bytes are there.
 * @returns Half a sentence that names the field and its value, or null.
 */
export function findCycleFault(bytes: DataView, at: number): string | null {
  const flags = bytes.getUint8(at + CYCLE.flags);
  const planIndex = bytes.getInt16(at + CYCLE.planIndex, true);
  if ((flags & HOLD_BITS) >= HOLD_REASONS.length) {
    return `its hold is reason ${flags & HOLD_BITS}, expected 0–${HOLD_REASONS.length - 1}`;
  }
  if ((flags >> REFUSAL_SHIFT & REFUSAL_BITS) > 2) {
    return `its flags are ${flags}, which no writer sets`;
  }
  if (planIndex < -1 || planIndex >= MAX_PLAN_STEPS) {
    return `its planIndex is ${planIndex}, expected −1–${MAX_PLAN_STEPS - 1}`;
  }
  for (let i = 0; i < ALOHA_DIM; i++) {
    const mask = bytes.getUint8(at + CYCLE.clamps + i);
    if (mask > CLAMP_BITS) return `its clamps[${i}] is ${mask}, expected 0–${CLAMP_BITS}`;
  }
  return null;
}

/**
 * Read a cycle.
 *
 * @param bytes The log.
 * @param at First byte of the entry; it has no fault.
 * @param timeMs When the cycle was, in ms since 1970: the sum of the deltas is the caller's.
 * @param out Receives `MOTION_RECORD`.
 */
export function decodeCycle(bytes: DataView, at: number, timeMs: number, out: Float64Array): void {
  const flags = bytes.getUint8(at + CYCLE.flags);
  out[MOTION_RECORD.timeMs] = timeMs;
  out[MOTION_RECORD.step] = bytes.getUint32(at + CYCLE.step, true);
  out[MOTION_RECORD.isStepEnd] = flags & STEP_END_BIT ? 1 : 0;
  out[MOTION_RECORD.planId] = bytes.getUint32(at + CYCLE.planId, true);
  out[MOTION_RECORD.planIndex] = bytes.getInt16(at + CYCLE.planIndex, true);
  out[MOTION_RECORD.hold] = flags & HOLD_BITS;
  out[MOTION_RECORD.refusal] = flags >> REFUSAL_SHIFT & REFUSAL_BITS;
  out[MOTION_RECORD.isRestart] = flags & RESTART_BIT ? 1 : 0;
  out[MOTION_RECORD.stateAgeMs] = bytes.getUint16(at + CYCLE.stateAge, true) / STATE_AGE_PER_MS;
  for (let i = 0; i < ALOHA_DIM; i++) {
    out[MOTION_RECORD.clamps + i] = bytes.getUint8(at + CYCLE.clamps + i);
  }
  for (const [to, from] of POSES) {
    for (let i = 0; i < ALOHA_DIM; i++) out[to + i] = bytes.getFloat32(at + from + 4 * i, true);
  }
}

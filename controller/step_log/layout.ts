/**
 * How a step log is laid out: a binary file that tells what the arms were told, cycle by cycle.
 *
 * A log is one line of JSON, its header (`header.ts`), and then entries back to back. The
 * first byte of an entry is its tag. Everything is little-endian.
 *
 * | entry | bytes | fields |
 * |---|---|---|
 * | a cycle | 200 | {@link CYCLE} |
 * | an event | 12 + length | {@link EVENT}, then `length` bytes of UTF-8 |
 *
 * A cycle's time counts from the cycle before (the first one's from the header's `startMs`), so that it
 * fits 4 bytes; what rounding leaves is carried to the next one, so times do not drift. An event has a
 * time of its own: it comes from another thread than the cycles and may lie a little out of order.
 *
 * There is no index and no trailer: a log whose writer was killed is whole up to its last entry.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";

/** First word of every header. */
export const STEP_LOG_FORMAT = "tendon-step-log";

/** Version of the layout; a reader refuses any other. */
export const STEP_LOG_VERSION = 1;

/** First byte of an entry. */
export const ENTRY_TAG = { cycle: 1, event: 2 } as const;

/** Where a cycle's fields are, in bytes from its tag. */
export const CYCLE = {
  /**
   * uint8: bits 0–3 index in `HOLD_REASONS`, bits 4–5 the refusal, bit 6 the last cycle of its step,
   * bit 7 the first cycle of a motion that begins anew.
   */
  flags: 1,
  /** int16: position in the plan; −1 while holding. */
  planIndex: 2,
  /** uint32: µs since the cycle before. */
  deltaUs: 4,
  /** uint32: control step. */
  step: 8,
  /** uint32: number of the plan; 0 while holding. */
  planId: 12,
  /** uint16: age of the older arm's state in tenths of a ms; 65535 for that and more. */
  stateAge: 16,
  /** uint8 `[14]`: bits of `CLAMP_BIT`. */
  clamps: 18,
  /** float32 `[14]`: what was wanted, in rad, grippers 0–1. */
  wanted: 18 + ALOHA_DIM,
  /** float32 `[14]`: what left the safety filter. */
  command: 18 + ALOHA_DIM + 4 * ALOHA_DIM,
  /** float32 `[14]`: what was measured. */
  measured: 18 + ALOHA_DIM + 8 * ALOHA_DIM,
  /** Bytes in all. */
  bytes: 18 + ALOHA_DIM + 12 * ALOHA_DIM,
} as const;

/** Where an event's fields are, in bytes from its tag. */
export const EVENT = {
  /** uint8: index in the header's `eventKinds`. */
  kind: 1,
  /** uint16: bytes of the text. */
  length: 2,
  /** float64: ms since 1970. */
  timeMs: 4,
  /** The text. */
  text: 12,
} as const;

/** What an event can be about. */
export const EVENT_KINDS = [
  /** An episode started or ended. */
  "episode",
  /** A chunk began: which one, of which policy version. */
  "chunk",
  /** The state machine moved. */
  "state",
  /** An emergency stop was asked for or released. */
  "stop",
  /** Something is broken: a servo, a bus, a camera. */
  "fault",
  /** Anything else that a reader should know. */
  "note",
] as const;

/** One of {@link EVENT_KINDS}. */
export type EventKind = (typeof EVENT_KINDS)[number];

/** Most bytes of an event's text; the writer cuts a longer one. */
export const MAX_EVENT_BYTES = 2000;

/** A field of a cycle, as the header describes it to readers in other languages. */
export interface Column {
  /** Its name in {@link CYCLE}. */
  readonly name: string;
  /** How a number of it is stored. */
  readonly type: "uint8" | "int16" | "uint16" | "uint32" | "float32";
  /** First byte, from the entry's tag. */
  readonly offset: number;
  /** Numbers of it. */
  readonly count: number;
}

/** Every field of a cycle but its tag. */
export const COLUMNS: readonly Column[] = [
  { name: "flags", type: "uint8", offset: CYCLE.flags, count: 1 },
  { name: "planIndex", type: "int16", offset: CYCLE.planIndex, count: 1 },
  { name: "deltaUs", type: "uint32", offset: CYCLE.deltaUs, count: 1 },
  { name: "step", type: "uint32", offset: CYCLE.step, count: 1 },
  { name: "planId", type: "uint32", offset: CYCLE.planId, count: 1 },
  { name: "stateAge", type: "uint16", offset: CYCLE.stateAge, count: 1 },
  { name: "clamps", type: "uint8", offset: CYCLE.clamps, count: ALOHA_DIM },
  { name: "wanted", type: "float32", offset: CYCLE.wanted, count: ALOHA_DIM },
  { name: "command", type: "float32", offset: CYCLE.command, count: ALOHA_DIM },
  { name: "measured", type: "float32", offset: CYCLE.measured, count: ALOHA_DIM },
];

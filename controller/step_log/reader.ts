/**
 * Reads a step log and checks every entry of it.
 *
 * @module
 */

import { MOTION_RECORD } from "../motion/motion_memory.ts";
import { decodeCycle, findCycleFault } from "./cycle_codec.ts";
import { decodeHeader, type StepLogHeader } from "./header.ts";
import { CYCLE, ENTRY_TAG, EVENT, EVENT_KINDS, type EventKind } from "./layout.ts";

/** Largest log that is read, in bytes: 7 hours at 200 Hz. Its entries are addressed by 31 bits. */
const MAX_LOG_BYTES = 1024 ** 3;

/** Something that happened. */
export interface StepLogEvent {
  /** What it is about. */
  readonly kind: EventKind;
  /** One sentence. */
  readonly text: string;
  /** When it was, in ms since 1970. */
  readonly timeMs: number;
  /** How many cycles lie before it in the log. */
  readonly cyclesBefore: number;
}

/** What a log that was cut off ends in. */
export interface IncompleteTail {
  /** First byte of the entry that is not whole. */
  readonly offset: number;
  /** How many bytes there are of it. */
  readonly bytes: number;
}

/** A log in memory; cycles are decoded when they are read. */
export interface StepLog {
  /** What the log is of. */
  readonly header: StepLogHeader;
  /** Number of cycles. */
  readonly cycles: number;
  /** Times of the cycles, in ms since 1970. */
  readonly timesMs: Float64Array;
  /** Everything that happened, in the order of the log. */
  readonly events: readonly StepLogEvent[];
  /** What the log ends in if its writer was killed; null if it is whole. */
  readonly incompleteTail: IncompleteTail | null;
  /**
   * Decode one cycle.
   *
   * @param index 0…cycles − 1.
   * @param out Receives `MOTION_RECORD`; a fresh array by default.
   * @returns `out`.
   * @throws {RangeError} There is no such cycle.
   */
  read(index: number, out?: Float64Array): Float64Array;
}

/**
 * Read a log from a file.
 *
 * @param path The file.
 * @throws {SyntaxError} It is no step log, or an entry is malformed: the sentence names byte and value.
 * @throws {RangeError} It is larger than 1 GiB.
 * @throws {Deno.errors.NotFound} There is no such file.
 */
export async function readStepLog(path: string): Promise<StepLog> {
  const { size } = await Deno.stat(path);
  if (size > MAX_LOG_BYTES) {
    throw new RangeError(
      `Cannot read the step log ${path}: it has ${size} bytes, at most ${MAX_LOG_BYTES} are read`,
    );
  }
  try {
    return parseStepLog(await Deno.readFile(path));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(`Cannot read the step log ${path}: ${error.message}`, { cause: error });
  }
}

/**
 * Check a log that is in memory.
 *
 * An entry that the end of the bytes cuts off is reported, not refused; so is a rest of zeros, which
 * some file systems leave where a machine lost its power.
 *
 * @param bytes The whole file. It is kept, and must not change.
 * @throws {SyntaxError} As {@link readStepLog}.
 */
export function parseStepLog(bytes: Uint8Array): StepLog {
  const { header, bytes: first } = decodeHeader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const room = Math.floor((bytes.length - first) / CYCLE.bytes);
  const offsets = new Uint32Array(room), timesMs = new Float64Array(room);
  const events: StepLogEvent[] = [];
  let cycles = 0, timeUs = 0, at = first;
  while (at < bytes.length) {
    const size = entryBytes(view, at);
    if (at + size > bytes.length || isZeroFrom(bytes, at)) break;
    if (bytes[at] === ENTRY_TAG.cycle) {
      const fault = findCycleFault(view, at);
      if (fault !== null) throw new SyntaxError(`the cycle at byte ${at} is malformed: ${fault}`);
      timeUs += view.getUint32(at + CYCLE.deltaUs, true);
      offsets[cycles] = at;
      timesMs[cycles++] = header.startMs + timeUs / 1000;
    } else {
      events.push({ ...decodeEvent(bytes, view, at), cyclesBefore: cycles });
    }
    at += size;
  }
  return {
    header,
    cycles,
    timesMs: timesMs.subarray(0, cycles),
    events,
    incompleteTail: at < bytes.length ? { offset: at, bytes: bytes.length - at } : null,
    read(index, out = new Float64Array(MOTION_RECORD.length)) {
      if (!(Number.isInteger(index) && index >= 0 && index < cycles)) {
        throw new RangeError(`Cannot read cycle ${index} of a step log of ${cycles} cycles`);
      }
      decodeCycle(view, offsets[index], timesMs[index], out);
      return out;
    },
  };
}

/** Bytes of the entry; of an event whose length is not there yet, those of its head. */
function entryBytes(view: DataView, at: number): number {
  const tag = view.getUint8(at);
  if (tag === ENTRY_TAG.cycle) return CYCLE.bytes;
  if (tag === ENTRY_TAG.event) {
    const hasLength = at + EVENT.length + 2 <= view.byteLength;
    return EVENT.text + (hasLength ? view.getUint16(at + EVENT.length, true) : 0);
  }
  // A rest of zeros is told apart by the caller.
  if (tag === 0) return 1;
  throw unknownTag(at, tag);
}

function unknownTag(at: number, tag: number): SyntaxError {
  return new SyntaxError(
    `the entry at byte ${at} has tag ${tag}, expected ${ENTRY_TAG.cycle} (a cycle) or ` +
      `${ENTRY_TAG.event} (an event)`,
  );
}

function isZeroFrom(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] !== 0) return false;
  if (bytes.subarray(at).every((byte) => byte === 0)) return true;
  throw unknownTag(at, 0);
}

function decodeEvent(
  bytes: Uint8Array,
  view: DataView,
  at: number,
): Omit<StepLogEvent, "cyclesBefore"> {
  const kind = EVENT_KINDS[view.getUint8(at + EVENT.kind)];
  const timeMs = view.getFloat64(at + EVENT.timeMs, true);
  if (kind === undefined) {
    throw new SyntaxError(
      `the event at byte ${at} is malformed: its kind is ${view.getUint8(at + EVENT.kind)}, ` +
        `expected 0–${EVENT_KINDS.length - 1}`,
    );
  }
  if (!Number.isFinite(timeMs)) {
    throw new SyntaxError(`the event at byte ${at} is malformed: its time is ${timeMs} ms`);
  }
  const from = at + EVENT.text;
  try {
    const text = new TextDecoder("utf-8", { fatal: true })
      .decode(bytes.subarray(from, from + view.getUint16(at + EVENT.length, true)));
    return { kind, text, timeMs };
  } catch (cause) {
    throw new SyntaxError(`the event at byte ${at} is malformed: its text is not UTF-8`, { cause });
  }
}

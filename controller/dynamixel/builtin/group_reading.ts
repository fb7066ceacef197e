/**
 * Reading several servos at once, attempt by attempt, the same for both drivers.
 *
 * @module
 */

import type { ServoReading } from "../bus.ts";
import type { StatusPacket } from "../protocol/parser.ts";
import type { ListenEnd } from "./status_line.ts";

/** How often it may be tried. */
export interface Attempts {
  /** Times that missing answers are asked for again. */
  readonly retries: number;
  /** No attempt begins that could end later than this after the first began, ms. */
  readonly budgetMs: number;
}

/** One attempt that can be made. */
export interface ReadAttempt {
  /** Longest time that it takes, ms. */
  readonly timeoutMs: number;
  /** Make it: ask, and put what the servos say into the readings found. */
  readonly run: () => ListenEnd;
}

/** Bits of the error byte that say the servo refused, without the hardware alert. */
export const REFUSED = 0x7f;

/**
 * Read servos until all have answered, or attempts or time run out.
 *
 * @param ids Servos, each at most once.
 * @param attempts How often.
 * @param plan Makes the attempt to read `asked` into `found`; its number counts from 1.
 * @returns One reading for each of `ids`, in their order.
 * @throws {BusError} The port is gone.
 */
export function collectReadings(
  ids: readonly number[],
  { retries, budgetMs }: Attempts,
  plan: (
    asked: readonly number[],
    found: Map<number, ServoReading>,
    attempt: number,
  ) => ReadAttempt,
): ServoReading[] {
  const found = new Map<number, ServoReading>();
  const giveUpAt = performance.now() + budgetMs;
  let end: ListenEnd = "complete";
  let asked = ids;
  for (let attempt = 1; asked.length > 0 && attempt <= retries + 1; attempt++) {
    const { timeoutMs, run } = plan(asked, found, attempt);
    if (attempt > 1 && performance.now() + timeoutMs > giveUpAt) break;
    end = run();
    const missing = asked.filter((id) => !found.has(id));
    // Servos wait for the one before them, so the first that is silent may silence all after it: it is
    // asked last now, and the others show whether they are well.
    asked = [...missing.slice(1), ...missing.slice(0, 1)];
  }
  const fault = end === "corrupt" ? "corrupt" : "timeout";
  return ids.map((id) => found.get(id) ?? { id, fault });
}

/**
 * What a servo said, as a reading. A refusal carries no data.
 *
 * @param id The servo.
 * @param error Its error byte.
 * @param data What it read.
 * @param length Bytes asked for.
 * @returns The reading.
 */
export function readingOf(
  id: number,
  error: number,
  data: Uint8Array,
  length: number,
): ServoReading {
  const isRefused = (error & REFUSED) !== 0 || data.length !== length;
  return isRefused ? { id, error } : { id, error, data };
}

/**
 * Whether a status has the size of the answer, or is a refusal.
 *
 * @param status A status packet.
 * @param paramBytes Bytes that the answer has.
 * @returns False for the answer to another question.
 */
export function isAnswer({ error, params }: StatusPacket, paramBytes: number): boolean {
  return params.length === paramBytes || (params.length === 0 && (error & REFUSED) !== 0);
}

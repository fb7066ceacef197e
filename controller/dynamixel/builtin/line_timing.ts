/**
 * How long an answer may take: the bytes on the line, the servos' return delay, and what the adapter
 * and the system add.
 *
 * @module
 */

/** What the deadlines of a line depend on. */
export interface LineTiming {
  /** Bits a second. A byte is 10 bits: start, 8 data, stop. */
  readonly baudRate: number;
  /** The largest Return_Delay_Time among the servos, ms. They leave the factory with 0.5. */
  readonly returnDelayMs: number;
  /** Allowance for the adapter and the system, ms, once an exchange. */
  readonly latencyMs: number;
}

/** Bytes of a status packet beside its parameters. */
const STATUS_OVERHEAD_BYTES = 11;

/**
 * Longest that a status packet can be.
 *
 * @param paramBytes Bytes of its parameters, before stuffing.
 * @returns Bytes, with one stuffed byte for every three parameters.
 */
export function longestStatus(paramBytes: number): number {
  return STATUS_OVERHEAD_BYTES + paramBytes + Math.ceil(paramBytes / 3);
}

/**
 * How long to wait for all answers to an instruction.
 *
 * @param timing The line.
 * @param sentBytes Bytes of the instruction.
 * @param answers Servos that answer.
 * @param paramBytes Bytes of the parameters of each answer.
 * @returns Time from the instruction's first byte, ms.
 */
export function answerTimeoutMs(
  timing: LineTiming,
  sentBytes: number,
  answers: number,
  paramBytes: number,
): number {
  const bytes = sentBytes + answers * longestStatus(paramBytes);
  return bytes * 10_000 / timing.baudRate + answers * timing.returnDelayMs + timing.latencyMs;
}

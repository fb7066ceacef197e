/**
 * Keeps an answer that comes late from passing for the answer to another question.
 *
 * An answer says who speaks, not what was asked: after a stall of the adapter or of the computer, the
 * goal that was asked for first would be taken for the position that is asked for now, and an arm would
 * go there. A servo answers in the order in which it is asked. So where an answer is missing, the servo
 * is first asked something whose answer nobody can mistake, by its length: once that has come, nothing
 * older is on its way.
 *
 * @module
 */

import { encodeRequest } from "../protocol/instructions.ts";
import { answerTimeoutMs, type LineTiming } from "./line_timing.ts";
import type { ListenEnd, StatusLine } from "./status_line.ts";

/** Where a probe reads: the first of a servo's registers, all of which can be read. */
const PROBE_ADDRESS = 0;
/** Bytes of one probe after the other. No item and no group of items that is read has so many. */
const PROBE_BYTES = [5, 6, 8, 9, 11, 12] as const;
/** Bytes of a read instruction. */
const READ_BYTES = 14;

/** The servos of one line that may still answer an earlier question. */
export class LateAnswers {
  readonly #line: StatusLine;
  readonly #timing: LineTiming;
  readonly #ids = new Set<number>();
  #probes = 0;

  /** Nobody is late. @param line The line, which stays the caller's. @param timing Its timing. */
  constructor(line: StatusLine, timing: LineTiming) {
    this.#line = line;
    this.#timing = timing;
  }

  /** An answer is missing, and may still come. @param id Whose. */
  expect(id: number): void {
    this.#ids.add(id);
  }

  /** Longest time that {@link letPass} may take now, ms. @param id The servo. */
  timeoutMs(id: number): number {
    if (!this.#ids.has(id)) return 0;
    return answerTimeoutMs(this.#timing, READ_BYTES, 1, Math.max(...PROBE_BYTES));
  }

  /**
   * Let what a servo says late go by.
   *
   * @param id The servo.
   * @returns `complete` when nothing older can come any more: what the servo says next is the answer.
   * @throws {BusError} The port is gone.
   */
  letPass(id: number): ListenEnd {
    if (!this.#ids.has(id)) return "complete";
    const length = PROBE_BYTES[this.#probes++ % PROBE_BYTES.length];
    this.#line.send(encodeRequest({ kind: "read", id, address: PROBE_ADDRESS, length }));
    const end = this.#line.listen(1, this.timeoutMs(id), (status) => {
      return status.id === id && status.params.length === length ? 0 : 1;
    });
    if (end === "complete") this.#ids.delete(id);
    return end;
  }
}

/**
 * A logger that remembers what was said, to see whether the log names what went wrong.
 *
 * @module
 */

import type { Logger } from "../../common/types.ts";

/** A line that was said. */
export interface LogLine {
  /** When, in ms of the clock. */
  readonly timeMs: number;
  /** How urgent it was. */
  readonly level: keyof Logger;
  /** What. */
  readonly message: string;
}

/** Lines so far; they are also passed on. */
export class LogWatch implements Logger {
  /** Every line, oldest first. */
  readonly lines: LogLine[] = [];
  readonly #next: Logger;
  readonly #now: () => number;

  /** Nothing has been said. @param next Hears every line too. @param now The clock, in ms. */
  constructor(next: Logger, now: () => number) {
    this.#next = next;
    this.#now = now;
  }

  /** Progress. */
  info(message: string): void {
    this.#take("info", message);
  }

  /** Something a person should look at. */
  warn(message: string): void {
    this.#take("warn", message);
  }

  /** Something failed. */
  error(message: string): void {
    this.#take("error", message);
  }

  /**
   * The first warning or error that says something.
   *
   * @param fromMs Lines before do not count.
   * @param saysIt Whether a line says it.
   * @returns The line; null if there is none.
   */
  firstTrouble(fromMs: number, saysIt: (message: string) => boolean): LogLine | null {
    return this.lines.find(({ timeMs, level, message }) =>
      timeMs >= fromMs && level !== "info" && saysIt(message)
    ) ?? null;
  }

  #take(level: keyof Logger, message: string): void {
    this.lines.push({ timeMs: this.#now(), level, message });
    this.#next[level](message);
  }
}

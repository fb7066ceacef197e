/**
 * When the cycles of a bus begin: at absolute deadlines, so that a late cycle moves no later one.
 *
 * A deadline is missed when its cycle has not begun within half a period of it, or when it passes while
 * the cycle before it is still at work. Missed deadlines are counted and skipped: the next cycle begins
 * at a deadline again, and no two cycles follow each other in a burst. Pure: the clock is the caller's.
 *
 * @module
 */

/** Share of a period by which a cycle may begin late; beyond it the next deadline is nearer. */
const LATEST_START = 0.5;

/** The deadlines of one bus. */
export class Schedule {
  readonly #epochMs: number;
  readonly #periodMs: number;
  #next = 0;
  #missed = 0;

  /**
   * Deadlines at `epochMs + n · periodMs`.
   *
   * @param epochMs A deadline, in ms of the caller's clock.
   * @param periodMs Time between deadlines, in ms, above 0.
   * @throws {RangeError} The period is not above 0, or a number is not finite.
   */
  constructor(epochMs: number, periodMs: number) {
    if (!Number.isFinite(epochMs) || !(periodMs > 0 && Number.isFinite(periodMs))) {
      throw new RangeError(
        `Cannot schedule cycles every ${periodMs} ms from ${epochMs}: the period must be above 0 ` +
          "and both finite",
      );
    }
    this.#epochMs = epochMs;
    this.#periodMs = periodMs;
  }

  /** The next deadline, in ms. */
  get dueMs(): number {
    return this.#epochMs + this.#next * this.#periodMs;
  }

  /** Deadlines missed since the first {@link start}. */
  get missed(): number {
    return this.#missed;
  }

  /**
   * Begin with the first deadline after now; those before it are not missed.
   *
   * @param nowMs The time.
   */
  start(nowMs: number): void {
    this.#next = this.#indexAfter(nowMs);
  }

  /**
   * Whether the cycle that is due may begin.
   *
   * @param nowMs The time, at or after {@link dueMs}.
   * @returns How late it begins, in ms; undefined when it is too late: then that deadline and all before
   *   now are missed, and {@link dueMs} is the next one.
   */
  begin(nowMs: number): number | undefined {
    const lateMs = nowMs - this.dueMs;
    if (lateMs <= LATEST_START * this.#periodMs) return Math.max(0, lateMs);
    this.#skipTo(this.#indexAfter(nowMs));
    return undefined;
  }

  /**
   * The cycle that began has ended; every deadline since its own is missed.
   *
   * @param nowMs The time.
   */
  end(nowMs: number): void {
    this.#next++;
    this.#skipTo(this.#indexAfter(nowMs));
  }

  #skipTo(index: number): void {
    if (index <= this.#next) return;
    this.#missed += index - this.#next;
    this.#next = index;
  }

  #indexAfter(nowMs: number): number {
    return Math.floor((nowMs - this.#epochMs) / this.#periodMs) + 1;
  }
}

/**
 * Deadlines of a thread that does the same thing again and again.
 *
 * Deadline `n` is at epoch + phase + n · period: it depends on nothing that happened before, so lateness
 * never adds up, and threads with the same epoch and period keep their distance. A deadline whose time
 * has passed altogether is skipped and counted; it is never made up for.
 *
 * @module
 */

/** When the deadlines are. */
export interface Schedule {
  /** Time from which deadlines are counted, in ms of `sharedNowMs`; the same for all threads. */
  readonly epochMs: number;
  /** Time from one deadline to the next, in ms, above 0. */
  readonly periodMs: number;
  /** Distance of deadline 0 from the epoch, in ms; below 0 for a thread that goes ahead of others. */
  readonly phaseMs: number;
}

/**
 * Check a schedule.
 *
 * @param schedule What to check.
 * @returns The same.
 * @throws {RangeError} A number is not finite, or the period is not above 0.
 */
export function checkSchedule(schedule: Schedule): Schedule {
  const { epochMs, periodMs, phaseMs } = schedule;
  if (![epochMs, periodMs, phaseMs].every(Number.isFinite) || !(periodMs > 0)) {
    throw new RangeError(
      `Cannot keep deadlines every ${periodMs} ms from ${epochMs} ms with phase ${phaseMs} ms: ` +
        `expected finite numbers and a period above 0`,
    );
  }
  return schedule;
}

/**
 * When a deadline is.
 *
 * @param schedule The deadlines.
 * @param index Number of the deadline; below 0 for those before deadline 0.
 * @returns Its time, in ms of `sharedNowMs`.
 */
export function deadlineMs({ epochMs, periodMs, phaseMs }: Schedule, index: number): number {
  return epochMs + phaseMs + index * periodMs;
}

/**
 * The deadline whose cycle should be running: the last one that is not later than now.
 *
 * @param schedule The deadlines.
 * @param nowMs The time, in ms of `sharedNowMs`.
 * @returns Its number; the next deadline is that of the number after it.
 */
export function dueDeadline(schedule: Schedule, nowMs: number): number {
  const { epochMs, periodMs, phaseMs } = schedule;
  let index = Math.floor((nowMs - (epochMs + phaseMs)) / periodMs);
  // Rounding may put a time right at a deadline on either side of it: deadlineMs() decides.
  while (deadlineMs(schedule, index) > nowMs) index--;
  while (deadlineMs(schedule, index + 1) <= nowMs) index++;
  return index;
}

/** Follows a schedule from cycle to cycle. */
export class Deadlines {
  readonly #schedule: Schedule;
  #index: number;
  #missed = 0;

  /**
   * Begin with the first deadline after now.
   *
   * @param schedule The deadlines.
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @throws {RangeError} See {@link checkSchedule}.
   */
  constructor(schedule: Schedule, nowMs: number) {
    this.#schedule = checkSchedule(schedule);
    this.#index = dueDeadline(schedule, nowMs) + 1;
  }

  /** Number of the deadline to wait for. */
  get index(): number {
    return this.#index;
  }

  /** Its time, in ms of `sharedNowMs`. */
  get nextMs(): number {
    return deadlineMs(this.#schedule, this.#index);
  }

  /** Deadlines that have been skipped so far. */
  get missed(): number {
    return this.#missed;
  }

  /**
   * Begin the cycle that is due, and wait for the deadline after it from now on.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @returns How many deadlines were skipped, because the one after each had come too; −1 when the
   * deadline to wait for is still to come, which changes nothing.
   */
  begin(nowMs: number): number {
    const due = dueDeadline(this.#schedule, nowMs);
    if (due < this.#index) return -1;
    const skipped = due - this.#index;
    this.#missed += skipped;
    this.#index = due + 1;
    return skipped;
  }
}

/**
 * How long to wait before a camera is opened again.
 *
 * @module
 */

/** First pause, in ms. */
export const BACKOFF_BASE_MS = 200;
/** Longest pause, in ms. */
export const BACKOFF_CAP_MS = 10_000;

/**
 * Pause after a number of failures: 0.2 s, doubling to 10 s, less up to a quarter so that cameras of
 * one USB hub that failed together do not come back together.
 *
 * @param failures Failures in a row, from 1.
 * @param random Uniform numbers in [0, 1).
 * @returns Pause in ms, 150–10,000.
 */
export function backoffMs(failures: number, random: () => number): number {
  const full = Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** (failures - 1));
  return full * (1 - random() / 4);
}

/** Waits that many ms, or until the signal is aborted; never rejects. */
export type Pause = (ms: number, signal: AbortSignal) => Promise<void>;

/**
 * A {@link Pause} by a timer.
 *
 * @param ms Length in ms.
 * @param signal Ends the pause early.
 */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) return Promise.resolve();
  const finish = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", finish);
    resolve();
  };
  const timer = setTimeout(finish, ms);
  signal.addEventListener("abort", finish);
  return promise;
}

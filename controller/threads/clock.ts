/**
 * One clock for all threads of the controller.
 *
 * Each thread's `performance.now()` begins at 0 when the thread does, and never goes back. Added to the
 * thread's own `performance.timeOrigin` it agrees between threads to about 0.1 ms, as long as nobody set
 * the system's clock between their starts. Durations within one thread are exact either way.
 *
 * @module
 */

/**
 * The time it is.
 *
 * @returns Milliseconds since 1970, with fractions, of a clock that never goes back within a thread.
 */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * The fastest of some candidates, within a budget of time.
 *
 * @module
 */

/** What was found. */
export interface Fastest<T> {
  /** The fastest that was measured, by more than the margin; the first if none could be. */
  readonly best: T;
  /** What it takes; Infinity if nothing could be measured. */
  readonly ms: number;
  /** How many were measured. */
  readonly measured: number;
}

/** How candidates are measured. */
export interface PickOptions<T> {
  /** Milliseconds that a candidate takes. */
  readonly measure: (candidate: T) => Promise<number>;
  /** Hears of candidates that cannot be measured; what it throws ends the search. */
  readonly onFailure: (candidate: T, error: unknown) => void | Promise<void>;
  /**
   * A later candidate counts as faster if it saves more than this share of the best one's time, 0–1: so
   * much noise may be in a measurement, or so much must be gained.
   */
  readonly margin: number;
  /** Time for all measurements, in ms. */
  readonly budgetMs: number;
  /** A clock in ms. */
  readonly now: () => number;
}

/**
 * Measure candidates in order and take the fastest. No measurement begins that would exceed the budget
 * if it took as long as the longest before it; the first begins if there is any time at all.
 *
 * @param candidates At least one, the likeliest first.
 * @param options How.
 * @returns The fastest; the earlier of two that the margin does not tell apart.
 * @throws {RangeError} If there is no candidate.
 */
export async function pickFastest<T>(
  candidates: readonly T[],
  { measure, onFailure, margin, budgetMs, now }: PickOptions<T>,
): Promise<Fastest<T>> {
  if (candidates.length === 0) {
    throw new RangeError("Cannot pick the fastest of no candidates; give at least one");
  }
  const start = now();
  let [best] = candidates;
  let ms = Infinity;
  let measured = 0;
  let longestMs = 0;
  for (const candidate of candidates) {
    const begin = now();
    if (begin - start + longestMs >= budgetMs) break;
    try {
      const took = await measure(candidate);
      measured++;
      if (took < ms * (1 - margin) || ms === Infinity) [best, ms] = [candidate, took];
    } catch (error) {
      await onFailure(candidate, error);
    }
    longestMs = Math.max(longestMs, now() - begin);
  }
  return { best, ms, measured };
}

/**
 * The few statistics that measurements are reported with.
 * @module
 */

/** Standard normal quantile of a two-sided 95 % interval. */
const Z_95 = 1.959964;

/**
 * A percentile by linear interpolation between the sorted values.
 *
 * @param values Any order; at least one.
 * @param share Which percentile, 0–1: 0.5 is the median.
 * @throws {RangeError} If there is no value or the share is outside 0–1.
 */
export function percentile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError("Cannot take a percentile: there are no values");
  if (!(share >= 0 && share <= 1)) {
    throw new RangeError(`Cannot take a percentile: the share is ${share}, expected 0–1`);
  }
  const sorted = values.toSorted((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.ceil(place);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** The median of at least one value. */
export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/**
 * Wilson's 95 % interval of a success rate (Wilson, 1927). Unlike the normal approximation it stays
 * within 0–1 and keeps a width when every trial succeeds.
 *
 * @param successes 0…trials.
 * @param trials At least 1.
 * @returns Lower and upper end, 0–1.
 * @throws {RangeError} If the counts are not integers in these ranges.
 * @example
 * ```ts
 * wilsonInterval(95, 100); // [0.888, 0.978]
 * ```
 */
export function wilsonInterval(
  successes: number,
  trials: number,
): readonly [low: number, high: number] {
  if (!Number.isInteger(trials) || trials < 1) {
    throw new RangeError(
      `Cannot estimate a rate: there are ${trials} trials, at least 1 is needed`,
    );
  }
  if (!Number.isInteger(successes) || successes < 0 || successes > trials) {
    throw new RangeError(
      `Cannot estimate a rate: ${successes} successes do not fit ${trials} trials`,
    );
  }
  const rate = successes / trials;
  const shrink = 1 / (1 + Z_95 ** 2 / trials);
  const center = shrink * (rate + Z_95 ** 2 / (2 * trials));
  const half = shrink * Z_95 *
    Math.sqrt(rate * (1 - rate) / trials + (Z_95 / (2 * trials)) ** 2);
  // Exactly so by the formula; rounding would miss it by an ulp.
  return [successes === 0 ? 0 : center - half, successes === trials ? 1 : center + half];
}

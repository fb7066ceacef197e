/**
 * Seeded random numbers on pure-rand's xoroshiro128+.
 *
 * @module
 */

import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { skipN } from "pure-rand/utils/skipN";

/** Draws the next number, uniform in [0, 1). */
export type RandomSource = () => number;

/**
 * A generator of uniform numbers; the same seed gives the same numbers.
 *
 * @param seed An integer; only its low 32 bits count.
 * @returns A source of numbers in [0, 1).
 * @throws {RangeError} The seed is not an integer.
 */
export function seededRandom(seed: number): RandomSource {
  if (!Number.isSafeInteger(seed)) {
    throw new RangeError(`Cannot seed random numbers: the seed is ${seed}, expected an integer`);
  }
  // Multiplied by an odd constant (2^32 over the golden ratio) so that neighbouring seeds differ in
  // many bits. The first outputs of xoroshiro128+ still show the seed's pattern: skip them.
  const generator = xoroshiro128plus(Math.imul(seed + 1, 0x9e3779b9));
  skipN(generator, 32);
  return () => uniformFloat64(generator);
}

/**
 * A number uniform in an interval.
 *
 * @param random Source of numbers in [0, 1).
 * @param min Lower end.
 * @param max Upper end.
 * @returns A number in [min, max).
 */
export function uniform(random: RandomSource, min: number, max: number): number {
  return min + (max - min) * random();
}

/**
 * A number from the standard normal distribution (Box–Muller, one of the pair).
 *
 * @param random Source of numbers in [0, 1).
 * @returns A number with mean 0 and standard deviation 1.
 */
export function normal(random: RandomSource): number {
  const radius = Math.sqrt(-2 * Math.log(1 - random()));
  return radius * Math.cos(2 * Math.PI * random());
}

/**
 * Faults of a bus at random: packets that get lost, damaged, late or doubled.
 *
 * @module
 */

import type { RandomSource } from "../../../common/random.ts";

/** Bytes that reach the controller, and when. */
export interface ScheduledAnswer {
  /** One packet, or what is left of it. */
  readonly bytes: Uint8Array;
  /** Time in ms at which its last byte is there. */
  readonly atMs: number;
}

/** Probability of each fault for each packet, 0–1. */
export interface FaultRates {
  /** It does not arrive. */
  readonly drop: number;
  /** One bit of it is wrong. */
  readonly corrupt: number;
  /** It comes later by `delayMs`. */
  readonly delay: number;
  /** It comes twice. */
  readonly duplicate: number;
  /** How much later a late packet comes, in ms. */
  readonly delayMs: number;
}

/** A bus without faults. */
export const NO_FAULTS: FaultRates = { drop: 0, corrupt: 0, delay: 0, duplicate: 0, delayMs: 0 };

/**
 * What becomes of an answer on its way.
 *
 * @param answer The answer as it was sent.
 * @param rates Probabilities.
 * @param random Source of numbers in [0, 1).
 * @returns Nothing, the answer or two of them.
 */
export function injectFaults(
  answer: ScheduledAnswer,
  rates: FaultRates,
  random: RandomSource,
): ScheduledAnswer[] {
  if (random() < rates.drop) return [];
  const bytes = random() < rates.corrupt ? flipBit(answer.bytes, random) : answer.bytes;
  const atMs = answer.atMs + (random() < rates.delay ? rates.delayMs : 0);
  const arrived = { bytes, atMs };
  return random() < rates.duplicate ? [arrived, arrived] : [arrived];
}

function flipBit(bytes: Uint8Array, random: RandomSource): Uint8Array {
  const damaged = bytes.slice();
  damaged[Math.floor(random() * bytes.length)] ^= 1 << Math.floor(random() * 8);
  return damaged;
}

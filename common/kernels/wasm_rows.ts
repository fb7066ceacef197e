/**
 * Loops over rows of float32 numbers in WebAssembly: whole vectors of four first, then what is left one
 * number at a time. A loop's body is written once, for both.
 *
 * @module
 */

import {
  add,
  addF32,
  addF32x4,
  and,
  type Binary,
  type Code,
  f32,
  get,
  i32,
  lane,
  loadF32,
  loadV128,
  mulF32,
  mulF32x4,
  set,
  splat,
  storeF32,
  storeV128,
  subF32,
  subF32x4,
  whileBelow,
} from "./wasm_assembler.ts";

/** Arithmetic on one number, or on four at a time. */
export interface Arithmetic {
  /** Sum. */
  readonly add: Binary;
  /** Difference. */
  readonly sub: Binary;
  /** Product. */
  readonly mul: Binary;
  /** Read at an address. */
  load(address: Code): Code;
  /** Write at an address. */
  store(address: Code, value: Code): Code;
  /** One number as such an operand. */
  spread(value: Code): Code;
  /** Which of a pair of locals holds such an operand. */
  pick(local: LocalPair): number;
}

/** A local for a vector and one for a single number: a sum that is kept in both. */
export interface LocalPair {
  /** For vectors. */
  readonly vector: number;
  /** For the numbers that are left. */
  readonly single: number;
}

const VECTORS: Arithmetic = {
  add: addF32x4,
  sub: subF32x4,
  mul: mulF32x4,
  load: loadV128,
  store: storeV128,
  spread: splat,
  pick: ({ vector }) => vector,
};

const SINGLES: Arithmetic = {
  add: addF32,
  sub: subF32,
  mul: mulF32,
  load: loadF32,
  store: storeF32,
  spread: (value) => value,
  pick: ({ single }) => single,
};

/**
 * Run a body for every number of a row.
 *
 * @param k Local: bytes of the row that are done; it counts from 0.
 * @param bytes Local: bytes of the row.
 * @param body The work on one number or four, at `k`.
 */
export function overRow(
  k: number,
  bytes: number,
  body: (arithmetic: Arithmetic) => readonly Code[],
): Code {
  const whole = and(get(bytes), i32(-16));
  return [
    ...set(k, i32(0)),
    ...whileBelow(k, whole, ...body(VECTORS), set(k, add(get(k), i32(16)))),
    ...whileBelow(k, get(bytes), ...body(SINGLES), set(k, add(get(k), i32(4)))),
  ];
}

/** Set a sum to 0. */
export function clearSum({ vector, single }: LocalPair): Code {
  return [...set(vector, splat(f32(0))), ...set(single, f32(0))];
}

/** Add to a sum. */
export function addToSum(arithmetic: Arithmetic, sum: LocalPair, value: Code): Code {
  const local = arithmetic.pick(sum);
  return set(local, arithmetic.add(get(local), value));
}

/** A sum as one number. */
export function totalOf({ vector, single }: LocalPair): Code {
  const lanes = [0, 1, 2, 3].map((i) => lane(get(vector), i));
  return addF32(addF32(addF32(lanes[0], lanes[1]), addF32(lanes[2], lanes[3])), get(single));
}

/** The place `k` bytes behind the address in a local. */
export const placeAt = (base: number, k: number): Code => add(get(base), get(k));

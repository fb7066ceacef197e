/**
 * The exponential function on vectors of WebAssembly, which has none.
 *
 * exp(x) = 2ⁿ · exp(r), with n the nearest whole number to x / ln 2 and r what is left, |r| ≤ 0.35:
 * there, seven terms of the series are as exact as float32. 2ⁿ is put together from its bits, which
 * are those that rounding to a whole number leaves anyway: float32 has none for fractions at 2²³.
 *
 * @module
 */

import {
  andNotV128,
  type Code,
  get,
  i32,
  lessF32x4,
  mulF32x4,
  set,
  shiftLeftI32x4,
  subF32x4,
} from "./wasm_assembler.ts";
import type { MultiplyAdd } from "./wasm_multiply_add.ts";

const LOG2_E = Math.LOG2E;
/** ln 2 as a sum: the first part has few bits, so that its products with whole numbers are exact. */
const LN2_HIGH = 0.693359375;
const LN2_LOW = Math.LN2 - LN2_HIGH;
/** 1/6!, 1/5!, … 1/1!, 1/0!. */
const SERIES = [1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1];
/** Below it, exp(x) is less than float32's least normal number: 0 is given. */
const LEAST = -87.3;
/** Exponent of 1 in float32, and how far it stands from the right. */
const EXPONENT_BIAS = 127, EXPONENT_SHIFT = 23;
/** Added to n it leaves n's exponent in the last bits; so large that what is added has no fraction. */
const ROUNDER = 1.5 * 2 ** 23 + EXPONENT_BIAS;

/** What {@link exponential} is made with. */
export interface ExponentialParts {
  /** How a product is added. */
  readonly multiplyAdd: MultiplyAdd;
  /** The vector of four times a number. */
  readonly constant: (value: number) => Code;
}

/**
 * Four times `exp(x)` for x ≤ 88, within 3 parts in 10⁷; exactly 0 for x below −87.3, −∞ included; NaN for NaN.
 *
 * @param x Local with the vector; holds the result behind it.
 * @param n Local for vectors that may be overwritten.
 * @param r Another.
 * @param result Another.
 */
export function exponential(
  x: number,
  n: number,
  r: number,
  result: number,
  { multiplyAdd, constant }: ExponentialParts,
): Code {
  const [first, ...others] = SERIES;
  const rounded = subF32x4(get(n), constant(ROUNDER));
  return [
    ...set(n, multiplyAdd(get(x), constant(LOG2_E), constant(ROUNDER))),
    ...set(result, rounded),
    ...set(r, multiplyAdd(get(result), constant(-LN2_HIGH), get(x))),
    ...set(r, multiplyAdd(get(result), constant(-LN2_LOW), get(r))),
    ...set(result, constant(first)),
    ...others.flatMap((term) => set(result, multiplyAdd(get(result), get(r), constant(term)))),
    ...set(n, shiftLeftI32x4(get(n), i32(EXPONENT_SHIFT))),
    ...set(
      x,
      // What is below the least is cleared last: whatever came of it does not matter. NaN stays.
      andNotV128(mulF32x4(get(result), get(n)), lessF32x4(get(x), constant(LEAST))),
    ),
  ];
}

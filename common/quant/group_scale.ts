/**
 * What 8-bit and 4-bit weights share: how many numbers have one scale, and how that scale is stored.
 *
 * @module
 */

/** Weights that share a scale. */
export const GROUP_SIZE = 32;

/** Distance between half-precision numbers below 2^-14, where scales lose their precision. */
const SUBNORMAL_STEP = 2 ** -24;
/** 1.5 · 2^52: adding and taking it away rounds a double to an integer, ties to even. */
const ROUNDING = 6755399441055744;

/**
 * Round to the nearest integer, ties to even.
 *
 * @param x A number of magnitude below 2^51.
 */
export function roundToInteger(x: number): number {
  return x + ROUNDING - ROUNDING;
}

/**
 * The scale of a group, as it is stored: half precision, never so small that an integer overflows.
 *
 * @param most Greatest magnitude in the group.
 * @param largest Largest integer of the format: 127 or 7.
 * @param name The tensor, for errors.
 * @returns A half-precision number, 0 or above.
 * @throws {RangeError} When `most` is not finite, or so large that its scale is not.
 */
export function storedScale(most: number, largest: number, name: string): number {
  const scale = Math.f16round(most / largest);
  if (!Number.isFinite(scale)) {
    throw new RangeError(
      `Cannot quantise ${name}: its greatest magnitude in a group is ${most}, but a scale must be ` +
        "a finite half-precision number; check the checkpoint",
    );
  }
  return scale * (largest + 0.49) < most ? scale + SUBNORMAL_STEP : scale;
}

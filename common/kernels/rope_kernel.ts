/**
 * What the kernel of the rotary position embedding is called and given, the same on every backend.
 *
 * A head (x1, x2), halves of K / 2 numbers, becomes (x1·cos − x2·sin, x2·cos + x1·sin) times a factor.
 * The way back, by the negative angles, is its gradient.
 *
 * @module
 */

import type { KernelArgs } from "./register_kernels.ts";

/** x `[B, T, …]`, N heads of K, and a table `[B, T, K]` of cosines, then sines: the shape of x. */
export const ROPE = "Rope";

/** Attributes of {@link ROPE}. */
export interface RopeAttrs {
  /** What the result is multiplied by. */
  readonly factor: number;
  /** By the negative angles. */
  readonly isBackwards: boolean;
}

/** Arguments of {@link ROPE}. */
export type RopeArgs<B> = KernelArgs<"x" | "table", RopeAttrs, B>;

/** A tensor's shape. */
export interface Shaped {
  /** Its axes. */
  readonly shape: readonly number[];
}

/** Positions, heads at each, and half of a head's numbers. */
export function sizesOf(x: Shaped, { shape: [batch, steps, width] }: Shaped): {
  readonly positions: number;
  readonly heads: number;
  readonly half: number;
} {
  const perPosition = x.shape.slice(2).reduce((a, b) => a * b, 1);
  return { positions: batch * steps, heads: perPosition / width, half: width / 2 };
}

/** What cosines and sines are multiplied by. */
export function factorsOf({ factor, isBackwards }: RopeAttrs): [cos: number, sin: number] {
  return [factor, isBackwards ? -factor : factor];
}

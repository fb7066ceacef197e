/**
 * What the kernels of gelu are called and given, the same on every backend, and gelu's definition.
 *
 * gelu's tanh approximation is x · σ(v) with v = x · (a + b·x²), exactly: 0.5·(1 + tanh u) = σ(2u).
 * Source of the approximation: Hendrycks and Gimpel, 2016.
 *
 * @module
 */

import type { KernelArgs } from "./register_kernels.ts";

/** x: gelu(x). */
export const GELU = "GeluTanh";
/** x and dy: gradient of x. */
export const GELU_GRADIENT = "GeluTanhGradient";
/** gate and up: gelu(gate) · up. */
export const GATED_GELU = "GatedGelu";
/** gate, up and dy: gradients of gate and of up. */
export const GATED_GELU_GRADIENT = "GatedGeluGradient";

/** Arguments of {@link GELU}. */
export type GeluArgs<B> = KernelArgs<"x", object, B>;
/** Arguments of {@link GELU_GRADIENT}. */
export type GeluGradientArgs<B> = KernelArgs<"x" | "dy", object, B>;
/** Arguments of {@link GATED_GELU}. */
export type GatedGeluArgs<B> = KernelArgs<"gate" | "up", object, B>;
/** Arguments of {@link GATED_GELU_GRADIENT}. */
export type GatedGeluGradientArgs<B> = KernelArgs<"gate" | "up" | "dy", object, B>;

/** a: twice √(2/π), the factor of the tanh's argument. */
export const GELU_LINEAR: number = 2 * Math.sqrt(2 / Math.PI);
/** b: a times the approximation's cubic term. */
export const GELU_CUBIC: number = GELU_LINEAR * 0.044715;

/** σ(v): what x is multiplied by. */
function share(x: number): number {
  return 1 / (1 + Math.exp(-x * (GELU_LINEAR + GELU_CUBIC * x * x)));
}

/** gelu(x), in float64. */
export function geluOf(x: number): number {
  return x * share(x);
}

/** gelu's derivative at x, in float64: σ + x·σ·(1−σ)·dv/dx. */
export function geluSlope(x: number): number {
  const sigma = share(x);
  return sigma * (1 + x * (1 - sigma) * (GELU_LINEAR + 3 * GELU_CUBIC * x * x));
}

/**
 * What the kernels of RMSNorm are called and given, the same on every backend.
 *
 * y = x · r · (1 + scale) with r = 1 / √(mean(x²) + ε) for each row, as Gemma has it. Letters: M rows, D
 * width.
 *
 * @module
 */

import type { KernelArgs } from "./register_kernels.ts";

/** x `[…, D]` and scale `[D]`: y `[…, D]`. */
export const RMS_NORM = "RmsNorm";
/** x, scale and dy `[…, D]`: gradient of x. */
export const RMS_NORM_GRADIENT = "RmsNormGradient";
/** x and dy: gradient of scale, `[D]`. */
export const RMS_NORM_SCALE_GRADIENT = "RmsNormScaleGradient";

/** Attributes of every kernel. */
export interface RmsNormAttrs {
  /** ε. */
  readonly epsilon: number;
}

/** Arguments of {@link RMS_NORM}. */
export type RmsNormArgs<B> = KernelArgs<"x" | "scale", RmsNormAttrs, B>;
/** Arguments of {@link RMS_NORM_GRADIENT}. */
export type RmsNormGradientArgs<B> = KernelArgs<"x" | "scale" | "dy", RmsNormAttrs, B>;
/** Arguments of {@link RMS_NORM_SCALE_GRADIENT}. */
export type RmsNormScaleGradientArgs<B> = KernelArgs<"x" | "dy", RmsNormAttrs, B>;

/** M and D of a tensor `[…, D]`. */
export function rowsOf({ shape }: { readonly shape: readonly number[] }): [number, number] {
  return [shape.slice(0, -1).reduce((a, b) => a * b, 1), shape[shape.length - 1]];
}

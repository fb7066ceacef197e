/**
 * What the kernels of LayerNorm are called and given, the same on every backend.
 *
 * y = (x − mean) · r · scale + bias with r = 1 / √(variance + ε) for each row, as SigLIP has it. Letters: M
 * rows, D width.
 *
 * @module
 */

import type { KernelArgs } from "./register_kernels.ts";

/** x `[…, D]`, scale and bias `[D]`: y `[…, D]`. */
export const LAYER_NORM = "LayerNorm";
/** x, scale and dy `[…, D]`: gradient of x. */
export const LAYER_NORM_GRADIENT = "LayerNormGradient";
/** x and dy: gradient of scale, `[D]`. */
export const LAYER_NORM_SCALE_GRADIENT = "LayerNormScaleGradient";

/** Attributes of every kernel. */
export interface LayerNormAttrs {
  /** ε. */
  readonly epsilon: number;
}

/** Arguments of {@link LAYER_NORM}. */
export type LayerNormArgs<B> = KernelArgs<"x" | "scale" | "bias", LayerNormAttrs, B>;
/** Arguments of {@link LAYER_NORM_GRADIENT}. */
export type LayerNormGradientArgs<B> = KernelArgs<"x" | "scale" | "dy", LayerNormAttrs, B>;
/** Arguments of {@link LAYER_NORM_SCALE_GRADIENT}. */
export type LayerNormScaleGradientArgs<B> = KernelArgs<"x" | "dy", LayerNormAttrs, B>;

/**
 * What the kernels of the gated MLP are called and given: y = (gelu(x · Gᵀ) · (x · Uᵀ)) · Dᵀ.
 *
 * Letters: M rows of x, D its width, F the hidden width, O the output's width.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { Bits } from "../quant/quantized_tensor.ts";
import type { QuantizedAttrs } from "./quantized_kernel.ts";
import type { KernelArgs } from "./register_kernels.ts";

/** x `[…, D]` by weights in float32, gate and up `[D, F]`, down `[F, O]`: `[…, O]`. On WebAssembly alone. */
export const GATED_MLP = "GatedMlp";
/** x `[…, D]` by weights in few bits, gate and up `[F, D]`, down `[O, F]`: `[…, O]`. */
export const QUANTIZED_GATED_MLP = "QuantizedGatedMlp";

/** Arguments of {@link GATED_MLP}. */
export type GatedMlpArgs<B> = KernelArgs<"x" | "gate" | "up" | "down", object, B>;

/** Inputs of {@link QUANTIZED_GATED_MLP}, in the order in which its gradient finds them. */
export const QUANTIZED_MLP_INPUTS = [
  "x",
  "gateWords",
  "gateScales",
  "upWords",
  "upScales",
  "downWords",
  "downScales",
] as const;

/** Attributes of {@link QUANTIZED_GATED_MLP}. */
export interface QuantizedMlpAttrs {
  /** Bits of an integer, in all three matrices. */
  readonly bits: Bits;
  /** D. */
  readonly width: number;
  /** F. */
  readonly hidden: number;
  /** O. */
  readonly outWidth: number;
}

/** Arguments of {@link QUANTIZED_GATED_MLP}. */
export type QuantizedMlpArgs<B> = KernelArgs<
  typeof QUANTIZED_MLP_INPUTS[number],
  QuantizedMlpAttrs,
  B
>;

/** Attributes of the product with gate or with up. */
export function intoHidden({ bits, width, hidden }: QuantizedMlpAttrs): QuantizedAttrs {
  return { bits, columns: width, firstRow: 0, rowCount: hidden };
}

/** Attributes of the product with down. */
export function outOfHidden({ bits, hidden, outWidth }: QuantizedMlpAttrs): QuantizedAttrs {
  return { bits, columns: hidden, firstRow: 0, rowCount: outWidth };
}

/** M and the shape of the output. */
export function outputOf(
  x: TensorInfo,
  outWidth: number,
): { readonly rows: number; readonly shape: number[] } {
  const leading = x.shape.slice(0, -1);
  return { rows: leading.reduce((a, b) => a * b, 1), shape: [...leading, outWidth] };
}

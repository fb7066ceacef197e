/**
 * What the kernels of masked log-probabilities are called and given, the same on every backend.
 *
 * Letters: M rows, V tokens.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";

/** Of each row, its token's log-probability and its distribution's entropy: `[M, 2]`. */
export const MASKED_LOG_PROB = "MaskedLogProb";
/** Gradient of {@link MASKED_LOG_PROB} with respect to the logits: `[M, V]`. */
export const MASKED_LOG_PROB_GRADIENT = "MaskedLogProbGradient";

/** Inputs of {@link MASKED_LOG_PROB}. */
export interface MaskedLogProbInputs {
  /** `[M, V]` float32. */
  readonly logits: TensorInfo;
  /** `[M, V]` bool: what each row may draw. */
  readonly allowed: TensorInfo;
  /** `[M]` int32: what each row has drawn; −1 for a row that counts for nothing. */
  readonly tokens: TensorInfo;
}

/** Attributes of both kernels. */
export interface MaskedLogProbAttrs {
  /** What the logits are multiplied by: 1 over the temperature. */
  readonly inverse: number;
}

/** Arguments of {@link MASKED_LOG_PROB} on a backend. */
export interface MaskedLogProbArgs<B> {
  /** Tensors. */
  readonly inputs: MaskedLogProbInputs;
  /** Attributes. */
  readonly attrs: MaskedLogProbAttrs;
  /** Where it runs. */
  readonly backend: B;
}

/** Arguments of {@link MASKED_LOG_PROB_GRADIENT} on a backend. */
export interface MaskedLogProbGradientArgs<B> {
  /** Tensors; `dy` is the gradient of the output, `[M, 2]` float32. */
  readonly inputs: MaskedLogProbInputs & {
    /** Gradient of the output. */
    readonly dy: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: MaskedLogProbAttrs;
  /** Where it runs. */
  readonly backend: B;
}

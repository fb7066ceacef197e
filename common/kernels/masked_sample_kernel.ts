/**
 * What the kernel of masked softmax sampling is called and given, the same on every backend.
 *
 * Letters: B rows, V tokens, W words of 32 bits that a row's mask takes: ⌈V / 32⌉.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";

/** One token a row, with its log-probability and the entropy of what it was drawn from: `[B, 3]`. */
export const MASKED_SAMPLE = "MaskedSample";

/** Arguments of {@link MASKED_SAMPLE} on a backend. */
export interface MaskedSampleArgs<B> {
  /** Tensors. */
  readonly inputs: {
    /** `[B, V]` float32. */
    readonly logits: TensorInfo;
    /** `[B, W]` int32: bit i % 32 of word i / 32 is set where token i is allowed. */
    readonly allowed: TensorInfo;
    /** `[B]` float32, each in [0, 1]. */
    readonly uniforms: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: {
    /** Above 0: draw at it. 0: take the best, with its numbers at temperature 1. */
    readonly temperature: number;
  };
  /** Where it runs. */
  readonly backend: B;
}

/** Words that the mask of so many tokens takes. */
export const maskWords = (vocab: number): number => Math.ceil(vocab / 32);

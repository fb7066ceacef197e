/**
 * What the kernels of attention over a cache are called and given, the same on every backend.
 *
 * Letters: B batch, T places that ask, N query heads, K width of a head, C places of the cache.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";

/** Softmax of q · kᵀ, times v: `[B, T, N, K]`. */
export const ATTENTION = "CachedAttention";
/** Gradients of {@link ATTENTION}: of q `[B, T, N, K]`, of k `[B, C, K]`, of v `[B, C, K]`. */
export const ATTENTION_GRADIENT = "CachedAttentionGradient";
/** One place written into a cache; there is no output. */
export const CACHE_WRITE = "CacheWrite";

/** Inputs of {@link ATTENTION}. */
export interface AttentionInputs {
  /** Queries, already scaled: `[B, T, N, K]` float32. */
  readonly q: TensorInfo;
  /** Keys `[B, C, K]` float32, one head for all queries. */
  readonly k: TensorInfo;
  /** Values `[B, C, K]` float32. */
  readonly v: TensorInfo;
  /** What is added to the scores: `[1 or B, 1 or T, at least keys]` float32. */
  readonly mask: TensorInfo;
}

/** Attributes of {@link ATTENTION} and its gradient. */
export interface AttentionAttrs {
  /** Places of the cache that are read: the first so many. */
  readonly keys: number;
}

/** Arguments of {@link ATTENTION} on a backend. */
export interface AttentionArgs<B> {
  /** Tensors. */
  readonly inputs: AttentionInputs;
  /** Attributes. */
  readonly attrs: AttentionAttrs;
  /** Where it runs. */
  readonly backend: B;
}

/** Arguments of {@link ATTENTION_GRADIENT} on a backend. */
export interface AttentionGradientArgs<B> {
  /** Tensors; `dy` is the gradient of the output, `[B, T, N, K]` float32. */
  readonly inputs: AttentionInputs & {
    /** Gradient of the output. */
    readonly dy: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: AttentionAttrs;
  /** Where it runs. */
  readonly backend: B;
}

/** Arguments of {@link CACHE_WRITE} on a backend. */
export interface CacheWriteArgs<B> {
  /** Tensors. */
  readonly inputs: {
    /** `[B, C, K]` float32; its values change. */
    readonly cache: TensorInfo;
    /** `[B, 1, K]` float32. */
    readonly x: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: {
    /** Which place, 0…C−1. */
    readonly position: number;
  };
  /** Where it runs. */
  readonly backend: B;
}

/** Sizes of an attention, and how far apart its mask's numbers are. */
export interface AttentionSizes {
  /** B. */
  readonly batch: number;
  /** T. */
  readonly places: number;
  /** N. */
  readonly heads: number;
  /** K. */
  readonly width: number;
  /** C. */
  readonly capacity: number;
  /** Places of the cache that are read. */
  readonly keys: number;
  /** Numbers from one row of the batch to the next in the mask; 0 if all have the same. */
  readonly maskBatchStride: number;
  /** Numbers from one place to the next in the mask; 0 if all have the same. */
  readonly maskPlaceStride: number;
}

/** Sizes of an attention by its tensors' shapes. */
export function attentionSizes(
  { q, k, mask }: AttentionInputs,
  { keys }: AttentionAttrs,
): AttentionSizes {
  const [batch, places, heads, width] = q.shape;
  const [maskBatch, maskPlaces, maskKeys] = mask.shape;
  return {
    batch,
    places,
    heads,
    width,
    capacity: k.shape[1],
    keys,
    maskBatchStride: maskBatch === 1 ? 0 : maskPlaces * maskKeys,
    maskPlaceStride: maskPlaces === 1 ? 0 : maskKeys,
  };
}

/**
 * An image encoder's working memory, made once.
 *
 * Letters: P tokens of all cameras (as many as a batch has at most), W width, F MLP width, D width of the
 * language model. Rows of activations are padded to 32 numbers; the padding stays zero.
 *
 * @module
 */

import type { GpuBuffers } from "./gpu_buffers.ts";
import { paddedColumns } from "./packed_rows.ts";
import { imageTokensOf, type VisionModel } from "./vision_model.ts";
import { patchColumns, pictureWords } from "./wgsl/patches.ts";
import { PLACES_HEADER_WORDS } from "./wgsl/shared.ts";

/** All buffers but weights. */
export interface VisionBuffers {
  /** `[cameras, words of a picture]`: the last picture of each camera. */
  readonly pixels: GPUBuffer;
  /** How many tokens the batch has, and which image token each is; see `PLACES`. */
  readonly places: GPUBuffer;
  /** `[P, patch · patch · 3]`. */
  readonly patches: GPUBuffer;
  /** `[P, W]`: the residual stream. */
  readonly x: GPUBuffer;
  /** `[P, W]`. */
  readonly normed: GPUBuffer;
  /** `[P, 3 · W]`: queries, keys, values. */
  readonly qkv: GPUBuffer;
  /** `[P, W]`: what attention found. */
  readonly attended: GPUBuffer;
  /** `[P, F]`: units of the MLP. */
  readonly hidden: GPUBuffer;
  /** `[P, D]` without padding: the image tokens, all cameras in order. */
  readonly tokens: GPUBuffer;
}

/**
 * Make an image encoder's working memory.
 *
 * @param model Sizes.
 * @param buffers Owner of what is made.
 * @throws {RangeError} If the device takes no buffer so large.
 */
export function createVisionBuffers(model: VisionModel, buffers: GpuBuffers): VisionBuffers {
  const { siglip, width: D, cameras } = model;
  const { width: W, mlpDim: F } = siglip;
  const P = imageTokensOf(model);
  const rows = (label: string, columns: number) =>
    buffers.storage(`vision ${label}`, 4 * P * paddedColumns(columns));
  return {
    pixels: buffers.storage("vision pixels", 4 * cameras * pictureWords(siglip)),
    places: buffers.storage("vision places", 4 * (PLACES_HEADER_WORDS + 2 * P)),
    patches: rows("patches", patchColumns(siglip)),
    x: rows("x", W),
    normed: rows("normed", W),
    qkv: rows("qkv", 3 * W),
    attended: rows("attended", W),
    hidden: rows("hidden", F),
    tokens: buffers.storage("image tokens", 4 * P * D),
  };
}

/**
 * The words of `places` for a batch of pictures: token t of the batch is an image token, counted through
 * all cameras, whose number takes the word of the rotary position.
 *
 * @param cameras Cameras whose pictures make the batch, in order.
 * @param tokens Tokens of a picture.
 */
export function batchWords(cameras: readonly number[], tokens: number): Uint32Array<ArrayBuffer> {
  const count = cameras.length * tokens;
  const words = new Uint32Array(PLACES_HEADER_WORDS + 2 * count);
  words[0] = count;
  words[1] = count;
  for (let t = 0; t < count; t++) {
    const camera = cameras[Math.floor(t / tokens)];
    words[PLACES_HEADER_WORDS + 2 * t] = camera * tokens + t % tokens;
    words[PLACES_HEADER_WORDS + 2 * t + 1] = 1;
  }
  return words;
}

/**
 * What an image encoder must know of a policy besides its weights.
 *
 * Letters: T tokens of a picture, I image tokens of all cameras, D width of the language model.
 *
 * @module
 */

import type { ActorCritic } from "../policy/actor_critic.ts";
import { type SiglipSize, tokensPerImage } from "../policy/variants.ts";
import { CAMERA_NAMES } from "../types.ts";
import { attentionTile } from "./wgsl/attend_images.ts";
import { patchColumns } from "./wgsl/patches.ts";

/** Sizes of an image encoder and of what it gives. */
export interface VisionModel {
  /** Sizes of the encoder. */
  readonly siglip: SiglipSize;
  /** D: width of an image token. */
  readonly width: number;
  /** Pictures of an observation. */
  readonly cameras: number;
}

/**
 * Describe a policy to an image encoder.
 *
 * @param policy The policy, or what it will be.
 * @returns Its model.
 */
export function visionModelOf({ shape: { variant } }: Pick<ActorCritic, "shape">): VisionModel {
  return {
    siglip: variant.siglip,
    width: variant.gemma.width,
    cameras: CAMERA_NAMES.length,
  };
}

/**
 * I.
 * @param model The model.
 */
export function imageTokensOf({ siglip, cameras }: VisionModel): number {
  return cameras * tokensPerImage(siglip);
}

/**
 * Multiplications and additions, in products with matrices and in attention.
 *
 * @param model The model.
 * @param pictures How many are encoded.
 */
export function visionFlops({ siglip, width }: VisionModel, pictures: number): number {
  const { width: W, mlpDim: F, depth: L } = siglip;
  const T = tokensPerImage(siglip);
  const weights = patchColumns(siglip) * W + L * (4 * W * W + 2 * W * F) + W * width;
  return pictures * (2 * T * weights + 4 * L * T * T * W);
}

/**
 * Check that the kernels can serve a model.
 *
 * @param model The model.
 * @throws {RangeError} If its patches do not fill a picture, or its heads do not fill its width or are no
 *   multiple of 4.
 */
export function checkVisionModel({ siglip, width, cameras }: VisionModel): void {
  const { imageSize, patch, width: W, depth, mlpDim, heads } = siglip;
  const sizes = { imageSize, patch, W, depth, mlpDim, heads, width, cameras };
  const odd = Object.entries(sizes).find(([, size]) => !Number.isSafeInteger(size) || size < 1);
  if (odd) {
    throw new RangeError(
      `Cannot build an image encoder: ${odd[0]} is ${odd[1]}, it must be an integer above 0`,
    );
  }
  if (imageSize % patch !== 0) {
    throw new RangeError(
      `Cannot build an image encoder: patches of ${patch} pixels do not fill a picture of ${imageSize}`,
    );
  }
  if (W % (4 * heads) !== 0) {
    throw new RangeError(
      `Cannot build an image encoder: ${heads} heads share ${W} numbers, but each must have a ` +
        "multiple of 4",
    );
  }
  attentionTile(W / heads);
}

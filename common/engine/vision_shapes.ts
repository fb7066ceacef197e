/**
 * Shapes of an image encoder's arrays in a checkpoint.
 *
 * @module
 */

import { tokensPerImage } from "../policy/variants.ts";
import type { VisionModel } from "./vision_model.ts";

/**
 * The shapes. Layers are stacked on the first axis.
 *
 * @param model Sizes.
 * @returns Shapes by path, with openpi's names.
 */
export function visionShapes({ siglip, width: D }: VisionModel): Map<string, readonly number[]> {
  const { width: W, depth: L, mlpDim: F, heads: N, patch: P } = siglip;
  const K = W / N;
  const block = "PaliGemma/img/Transformer/encoderblock";
  const attention = `${block}/MultiHeadDotProductAttention_0`;
  const mlp = `${block}/MlpBlock_0`;
  return new Map<string, readonly number[]>([
    ["PaliGemma/img/embedding/kernel", [P, P, 3, W]],
    ["PaliGemma/img/embedding/bias", [W]],
    ["PaliGemma/img/pos_embedding", [1, tokensPerImage(siglip), W]],
    ...["LayerNorm_0", "LayerNorm_1"].flatMap((name): [string, number[]][] => [
      [`${block}/${name}/scale`, [L, W]],
      [`${block}/${name}/bias`, [L, W]],
    ]),
    ...["query", "key", "value"].flatMap((name): [string, number[]][] => [
      [`${attention}/${name}/kernel`, [L, W, N, K]],
      [`${attention}/${name}/bias`, [L, N, K]],
    ]),
    [`${attention}/out/kernel`, [L, N, K, W]],
    [`${attention}/out/bias`, [L, W]],
    [`${mlp}/Dense_0/kernel`, [L, W, F]],
    [`${mlp}/Dense_0/bias`, [L, F]],
    [`${mlp}/Dense_1/kernel`, [L, F, W]],
    [`${mlp}/Dense_1/bias`, [L, W]],
    ["PaliGemma/img/Transformer/encoder_norm/scale", [W]],
    ["PaliGemma/img/Transformer/encoder_norm/bias", [W]],
    ["PaliGemma/img/head/kernel", [W, D]],
    ["PaliGemma/img/head/bias", [D]],
  ]);
}

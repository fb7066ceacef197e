/**
 * SigLIP image encoder: pictures to image tokens in the language model's width.
 *
 * Source: openpi `src/openpi/models/siglip.py` (pre-LayerNorm ViT, learned positions, no pooling).
 * The patch convolution (stride = size, VALID) is a reshape and one matrix product, which every
 * backend can differentiate.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { attention } from "../kernels/attention_ops.ts";
import { gelu } from "../kernels/gelu_ops.ts";
import type { Tensor, Tensor3D, Tensor4D } from "./tensors.ts";
import { layerNorm, linear } from "./layers.ts";
import type { ParameterStore } from "./parameters.ts";
import type { SiglipSize } from "./variants.ts";
import { tokensPerImage } from "./variants.ts";

const BLOCK = "PaliGemma/img/Transformer/encoderblock";
const ATTENTION = `${BLOCK}/MultiHeadDotProductAttention_0`;

/**
 * Encode pictures.
 * @param params The backbone's parameters.
 * @param size The encoder's sizes.
 * @param images `[B, height, width, 3]`, float32 in [−1, 1].
 * @param onStage Told what each stage gives, `[B, T, D]`, by the name that openpi has for it: `stem`,
 *   `with_posemb`, `block00`…, `encoder_norm`, `head`. The tensors live until the call returns.
 * @returns Image tokens `[B, T, D of the language model]`, T = (imageSize / patch)².
 */
export function encodeImages(
  params: ParameterStore,
  size: SiglipSize,
  images: Tensor4D,
  onStage: (name: string, x: Tensor) => void = () => {},
): Tensor3D {
  return tf.tidy(() => {
    const patches = toPatches(images, size);
    const stem = linear(
      patches,
      params.get("PaliGemma/img/embedding/kernel"),
      params.get("PaliGemma/img/embedding/bias"),
    );
    onStage("stem", stem);
    let x = tf.add(stem, params.get("PaliGemma/img/pos_embedding"));
    onStage("with_posemb", x);
    for (let layer = 0; layer < size.depth; layer++) {
      // What no gradient needs of a block goes with it.
      const before = x;
      x = tf.tidy(() => encoderBlock(params, size, layer, before));
      onStage(`block${String(layer).padStart(2, "0")}`, x);
    }
    x = layerNorm(
      x,
      params.get("PaliGemma/img/Transformer/encoder_norm/scale"),
      params.get("PaliGemma/img/Transformer/encoder_norm/bias"),
    );
    onStage("encoder_norm", x);
    const tokens = linear(
      x,
      params.weight("PaliGemma/img/head/kernel"),
      params.get("PaliGemma/img/head/bias"),
    );
    onStage("head", tokens);
    return tokens as Tensor3D;
  });
}

/** `[B, height, width, 3]` → `[B, T, patch·patch·3]`, patches row by row, pixels in kernel order. */
function toPatches(images: Tensor4D, { imageSize, patch }: SiglipSize): Tensor3D {
  const side = imageSize / patch;
  const batch = images.shape[0];
  // Pixels of one row of a patch stay together, so the transpose moves runs of patch·3 numbers.
  const rows = tf.reshape(images, [batch, side, patch, side, patch * 3]);
  return tf.reshape(tf.transpose(rows, [0, 1, 3, 2, 4]), [batch, side * side, patch * patch * 3]);
}

function encoderBlock(
  params: ParameterStore,
  size: SiglipSize,
  layer: number,
  x: Tensor,
): Tensor {
  const get = (path: string) => params.get(path, layer);
  const normed = layerNorm(x, get(`${BLOCK}/LayerNorm_0/scale`), get(`${BLOCK}/LayerNorm_0/bias`));
  const attended = tf.add(x, selfAttention(params, size, layer, normed));
  const hidden = gelu(
    linear(
      layerNorm(attended, get(`${BLOCK}/LayerNorm_1/scale`), get(`${BLOCK}/LayerNorm_1/bias`)),
      params.weight(`${BLOCK}/MlpBlock_0/Dense_0/kernel`, layer),
      get(`${BLOCK}/MlpBlock_0/Dense_0/bias`),
    ),
  );
  return tf.add(
    attended,
    linear(
      hidden,
      params.weight(`${BLOCK}/MlpBlock_0/Dense_1/kernel`, layer),
      get(`${BLOCK}/MlpBlock_0/Dense_1/bias`),
    ),
  );
}

function selfAttention(
  params: ParameterStore,
  size: SiglipSize,
  layer: number,
  x: Tensor,
): Tensor {
  const [batch] = x.shape;
  const tokens = tokensPerImage(size);
  const headDim = size.width / size.heads;
  const heads = (name: string, scale = 1): Tensor3D => {
    const y = linear(
      x,
      params.weight(`${ATTENTION}/${name}/kernel`, layer),
      params.get(`${ATTENTION}/${name}/bias`, layer),
    );
    const scaled = scale === 1 ? y : tf.mul(y, scale);
    const split = tf.reshape(scaled, [batch, tokens, size.heads, headDim]);
    return tf.reshape(tf.transpose(split, [0, 2, 1, 3]), [batch * size.heads, tokens, headDim]);
  };
  // Each head has keys and values of its own: it is a row of the batch.
  const query = tf.expandDims(heads("query", headDim ** -0.5), 2) as Tensor4D;
  const out = attention(query, heads("key"), heads("value"));
  const joined = tf.reshape(
    tf.transpose(tf.reshape(out, [batch, size.heads, tokens, headDim]), [0, 2, 1, 3]),
    [batch, tokens, size.width],
  );
  return linear(
    joined,
    params.weight(`${ATTENTION}/out/kernel`, layer),
    params.get(`${ATTENTION}/out/bias`, layer),
  );
}

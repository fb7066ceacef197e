/**
 * The kernels of the image encoder, in order, bound to their buffers: two in front, seven a layer, two
 * behind. All pictures that changed go through each layer together, so that weights are read once.
 *
 * @module
 */

import { tokensPerImage } from "../policy/variants.ts";
import { bindMatmul, EXACT_MATMUL, type MatmulChoice } from "./bind_matmul.ts";
import type { GpuMatrix } from "./gpu_matrix.ts";
import type { Dispatch, Fragment, KernelCache } from "./kernel.ts";
import { paddedColumns } from "./packed_rows.ts";
import type { VisionBuffers } from "./vision_buffers.ts";
import type { VisionModel } from "./vision_model.ts";
import type { NormWeights, VisionWeights } from "./vision_weights.ts";
import { attendImagesKernel, attentionTile } from "./wgsl/attend_images.ts";
import { layerNormKernel } from "./wgsl/layer_norm.ts";
import { PATCH_THREADS, patchColumns, patchesKernel } from "./wgsl/patches.ts";
import {
  storeBiased,
  storeBiasedResidual,
  storeGelu,
  storeImageTokens,
  storeStem,
} from "./wgsl/vision_epilogues.ts";

/**
 * Bind the kernels of the image encoder.
 *
 * @param kernels Compiles and binds.
 * @param model Sizes.
 * @param weights Weights.
 * @param buffers Working memory; pictures are expected in `pixels`, the batch in `places`.
 * @param products How products are computed: exactly unless told. That of the patches always is, as in
 *   openpi: every image token starts from it.
 * @returns The dispatches; their sizes depend on the number of tokens of the batch.
 * @throws {Error} If the driver refuses a kernel.
 */
export async function planVision(
  kernels: KernelCache,
  model: VisionModel,
  weights: VisionWeights,
  buffers: VisionBuffers,
  products: MatmulChoice = EXACT_MATMUL,
): Promise<Dispatch[]> {
  const { siglip, width: D } = model;
  const { width: W, mlpDim: F, heads } = siglip;
  const { pixels, places, patches, x, normed, qkv, attended, hidden, tokens } = buffers;
  const perImage = tokensPerImage(siglip);
  const attention = { heads, headDim: W / heads, tokens: perImage };
  const plan: Dispatch[] = [];
  const multiply = async (
    label: string,
    matrix: GpuMatrix,
    epilogue: readonly Fragment[],
    bound: Readonly<Record<string, GPUBuffer>>,
    choice = products,
  ) => {
    const task = { label, matrix, epilogue, bound: { ...bound, places } };
    plan.push(...await bindMatmul(kernels, task, choice));
  };
  const normalize = async ({ scale: norm_scale, bias: norm_bias }: NormWeights) => {
    const bound = { x, norm_scale, norm_bias, normed };
    plan.push(await kernels.bind(layerNormKernel(W), bound, (count) => [count, 1]));
  };

  const rowQuads = paddedColumns(patchColumns(siglip)) / 4;
  plan.push(
    await kernels.bind(
      patchesKernel(siglip),
      { places, pixels, patches },
      (count) => [Math.ceil(count * rowQuads / PATCH_THREADS), 1],
    ),
  );
  const { patch, positions, head } = weights;
  const stem = { x: patches, bias: patch.bias, positions, stem: x };
  await multiply("vision stem", patch.matrix, storeStem(W, perImage), stem, EXACT_MATMUL);
  for (const layer of weights.layers) {
    await normalize(layer.attentionNorm);
    await multiply("vision qkv", layer.qkv.matrix, storeBiased(3 * W), {
      x: normed,
      bias: layer.qkv.bias,
      out: qkv,
    });
    const blocks = Math.ceil(perImage / attentionTile(attention.headDim).queries);
    plan.push(
      await kernels.bind(
        attendImagesKernel(attention),
        { qkv, attended },
        (count) => [heads * blocks, count / perImage],
      ),
    );
    await multiply("vision out", layer.out.matrix, storeBiasedResidual(W), {
      x: attended,
      bias: layer.out.bias,
      residual: x,
    });
    await normalize(layer.mlpNorm);
    await multiply("vision up", layer.up.matrix, storeGelu(F), {
      x: normed,
      bias: layer.up.bias,
      hidden,
    });
    await multiply("vision down", layer.down.matrix, storeBiasedResidual(W), {
      x: hidden,
      bias: layer.down.bias,
      residual: x,
    });
  }
  await normalize(weights.encoderNorm);
  await multiply("vision head", head.matrix, storeImageTokens(D), {
    x: normed,
    bias: head.bias,
    tokens,
  });
  return plan;
}

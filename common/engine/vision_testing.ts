/**
 * What tests of the image encoder share: made-up encoders, and what tfjs says of the same pictures.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { imageTensor } from "../policy/network.ts";
import { backboneSpecs, ParameterStore } from "../policy/parameters.ts";
import { encodeImages } from "../policy/siglip.ts";
import { drawEverything, makeImage, MICRO, take } from "../policy/testing.ts";
import type { SiglipSize } from "../policy/variants.ts";
import { type MatrixKind, matrixLayout } from "../quant/matrix_layout.ts";
import {
  type Bits,
  dequantizeTensor,
  type QuantizedTensor,
  type QuantizedWeights,
  quantizeTensor,
} from "../quant/quantized_tensor.ts";
import { seededRandom } from "../random.ts";
import type { HostTensor, RgbImage } from "../types.ts";
import type { VisionEncoder } from "./vision_encoder.ts";
import type { VisionModel } from "./vision_model.ts";

/** Sizes that fill nothing: 25 tokens, 5 heads of 8 numbers, odd MLP and output, pictures of no whole words. */
export const ODD: VisionModel = {
  siglip: { imageSize: 35, patch: 7, width: 40, depth: 2, mlpDim: 37, heads: 5 },
  width: 33,
  cameras: 3,
};

/**
 * Weights of an image encoder on tfjs's backend, nothing of them at zero or one.
 * @param model Sizes.
 * @param seed Of the numbers.
 */
export function makeParameters({ siglip, width }: VisionModel, seed = 1): ParameterStore {
  const variant = { ...MICRO, siglip, gemma: { ...MICRO.gemma, width } };
  const specs = backboneSpecs(variant).filter(({ path }) => path.startsWith("PaliGemma/img/"));
  return new ParameterStore(specs, drawEverything(specs, seed));
}

/** How {@link visionWeights} rounds. */
export interface Rounding {
  /** Of a weight. */
  readonly bits: Bits;
  /** Which matrices; all if absent. */
  readonly kinds?: readonly MatrixKind[];
}

/**
 * An image encoder's weights for the engine.
 *
 * @param params Where they are; with rounding, they become the dequantised ones.
 * @param rounding How matrices are rounded; not at all if absent.
 */
export async function visionWeights(
  params: ParameterStore,
  rounding?: Rounding,
): Promise<QuantizedWeights> {
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  for (const tensor of await params.toHost()) {
    if (!tensor.name.includes("/img/")) continue;
    const layout = rounding && matrixLayout(tensor.name, tensor.shape, rounding.kinds);
    if (layout) matrices.set(tensor.name, quantizeTensor(tensor, layout, rounding.bits));
    else floats.set(tensor.name, tensor);
  }
  params.assign([...matrices.values()].map(dequantizeTensor));
  return { matrices, floats };
}

/**
 * Pictures of noise, one a camera.
 * @param seed Of the noise.
 * @param model Size and number.
 */
export function makePictures(seed: number, { siglip, cameras }: VisionModel): RgbImage[] {
  const random = seededRandom(seed);
  return Array.from({ length: cameras }, () => makeImage(random, siglip.imageSize));
}

/** The same picture but for one byte. */
export function withByte(image: RgbImage, at: number): RgbImage {
  return { ...image, data: image.data.map((byte, i) => i === at ? 255 - byte : byte) };
}

/**
 * Image tokens by tfjs, `[I, D]`.
 * @param params Weights.
 * @param size Sizes.
 * @param images Pictures.
 */
export async function encodeWithTfjs(
  params: ParameterStore,
  size: SiglipSize,
  images: readonly RgbImage[],
): Promise<Float32Array> {
  return await take(tf.tidy(() => encodeImages(params, size, imageTensor(images, size.imageSize))));
}

/**
 * Read an encoder's tokens.
 * @param device Where they are.
 * @param encoder The encoder.
 * @param tokens Its buffer.
 */
export async function readTokens(
  device: GPUDevice,
  { model: { siglip, width, cameras } }: VisionEncoder,
  tokens: GPUBuffer,
): Promise<Float32Array> {
  const { MAP_READ, COPY_DST } = GPUBufferUsage;
  const staging = device.createBuffer({ size: tokens.size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(tokens, 0, staging, 0, tokens.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const count = cameras * (siglip.imageSize / siglip.patch) ** 2 * width;
  const values = new Float32Array(staging.getMappedRange()).slice(0, count);
  staging.destroy();
  return values;
}

/**
 * Weights of an image encoder of any size that mean nothing, to measure it without a checkpoint.
 *
 * @module
 */

import type { StoragePlan } from "../policy/parameters.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import type { QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { RandomSource } from "../random.ts";
import { randomArrays, type Spread } from "./random_arrays.ts";
import type { VisionModel } from "./vision_model.ts";
import { visionShapes } from "./vision_shapes.ts";
import { patchColumns } from "./wgsl/patches.ts";

/** Of a trained position embedding, about; it only has to be small beside the patches. */
const POSITION_STDDEV = 0.02;

/**
 * Random weights, so large that activations keep their size from layer to layer.
 *
 * @param model Sizes.
 * @param storage Which matrices are in few bits.
 * @param random Where the numbers come from.
 * @returns All weights that an encoder wants; norms only normalise, biases do nothing.
 */
export function randomVisionWeights(
  model: VisionModel,
  storage: StoragePlan,
  random: RandomSource,
): QuantizedWeights {
  const spreadOf = (path: string, shape: readonly number[]): Spread => {
    if (path.endsWith("/scale")) return { mean: 1, stddev: 0 };
    if (path.endsWith("/bias")) return { mean: 0, stddev: 0 };
    if (path.endsWith("/pos_embedding")) return { mean: 0, stddev: POSITION_STDDEV };
    const inputs = matrixLayout(path, shape)?.contraction ?? patchColumns(model.siglip);
    return { mean: 0, stddev: 1 / Math.sqrt(inputs) };
  };
  return randomArrays(visionShapes(model), storage, spreadOf, random);
}

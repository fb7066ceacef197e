/**
 * Weights of any size that mean nothing, to measure an engine without a checkpoint.
 *
 * @module
 */

import type { StoragePlan } from "../policy/parameters.ts";
import { matrixLayout } from "../quant/matrix_layout.ts";
import type { QuantizedWeights } from "../quant/quantized_tensor.ts";
import type { RandomSource } from "../random.ts";
import { adapterShapes } from "./engine_adapters.ts";
import { criticShapes } from "./engine_critic.ts";
import type { EngineModel } from "./engine_model.ts";
import { weightShapes } from "./engine_weights.ts";
import { randomArrays, type Spread } from "./random_arrays.ts";

/** What openpi draws adapters with (`gemma_fast.py`). */
const ADAPTER_STDDEV = 0.01;

/**
 * Random weights, so large that activations keep their size from layer to layer.
 *
 * @param model Sizes.
 * @param storage Which matrices are in few bits.
 * @param random Where the numbers come from.
 * @returns All weights that an engine wants; norms only normalise, adapters are fresh ones.
 */
export function randomWeights(
  model: EngineModel,
  storage: StoragePlan,
  random: RandomSource,
): QuantizedWeights {
  const spreadOf = (path: string, shape: readonly number[]): Spread => {
    if (path.endsWith("/scale") || path.endsWith("/bias")) return { mean: 0, stddev: 0 };
    if (path.includes("lora")) return { mean: 0, stddev: ADAPTER_STDDEV };
    const inputs = matrixLayout(path, shape)?.contraction ?? shape[0]; // the critic's: [in, out]
    return { mean: 0, stddev: 1 / Math.sqrt(inputs) };
  };
  const shapes = [weightShapes(model), adapterShapes(model.gemma), criticShapes(model)];
  return randomArrays(new Map(shapes.flatMap((some) => [...some])), storage, spreadOf, random);
}

/**
 * Weights of any size that mean nothing, to measure an engine without a checkpoint.
 *
 * @module
 */

import { matrixLayout } from "../quant/matrix_layout.ts";
import {
  type Bits,
  createQuantizedTensor,
  type QuantizedTensor,
  type QuantizedWeights,
} from "../quant/quantized_tensor.ts";
import type { RandomSource } from "../random.ts";
import type { HostTensor } from "../types.ts";
import type { EngineModel } from "./engine_model.ts";
import { adapterShapes } from "./engine_adapters.ts";
import { criticShapes } from "./engine_critic.ts";
import { weightShapes } from "./engine_weights.ts";

/** Random integers are drawn once and then repeated: billions of them would take minutes. */
const BLOCK = 1 << 20;

/** Standard deviation of integers that are uniform in −128…127, and in −8…7. */
const SPREAD: Readonly<Record<Bits, number>> = { 8: 73.9, 4: 4.61 };

/**
 * Random weights, so large that activations keep their size from layer to layer.
 *
 * @param model Sizes.
 * @param bits Of a weight.
 * @param random Where the numbers come from.
 * @returns All weights that an engine wants; norms, adapters and critic do nothing.
 */
export function randomWeights(
  model: EngineModel,
  bits: Bits,
  random: RandomSource,
): QuantizedWeights {
  const block = Int8Array.from({ length: BLOCK }, () => Math.floor(256 * random()) - 128);
  const matrices = new Map<string, QuantizedTensor>();
  const floats = new Map<string, HostTensor>();
  const shapes = [weightShapes(model), adapterShapes(model.gemma), criticShapes(model)];
  for (const [name, shape] of shapes.flatMap((some) => [...some])) {
    const layout = matrixLayout(name, shape);
    if (!layout) {
      const count = shape.reduce((a, b) => a * b, 1);
      floats.set(name, { name, shape, data: new Float32Array(count) });
      continue;
    }
    const tensor = createQuantizedTensor(bits, name, shape, layout);
    const { buffer, byteLength } = tensor.values;
    for (let at = 0; at < byteLength; at += BLOCK) {
      const size = Math.min(BLOCK, byteLength - at);
      new Int8Array(buffer, at, size).set(block.subarray(0, size));
    }
    tensor.scales.fill(1 / (SPREAD[bits] * Math.sqrt(layout.contraction)));
    matrices.set(name, tensor);
  }
  return { matrices, floats };
}

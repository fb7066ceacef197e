/**
 * LayerNorm as one operation with gradients, for every tfjs backend.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "../policy/tensors.ts";
import { LAYER_NORM_CPU } from "./layer_norm_cpu.ts";
import {
  LAYER_NORM,
  LAYER_NORM_GRADIENT,
  LAYER_NORM_SCALE_GRADIENT,
  type LayerNormAttrs,
} from "./layer_norm_kernel.ts";
import { LAYER_NORM_WASM } from "./layer_norm_wasm.ts";
import { LAYER_NORM_WEBGPU } from "./layer_norm_webgpu.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";

/**
 * (x − mean) / std · scale + bias over the last axis. Differentiable with respect to all three.
 *
 * @param x `[…, D]` float32.
 * @param scale `[D]` float32.
 * @param bias `[D]` float32.
 * @param epsilon Added to the variance.
 * @returns The shape of x.
 * @throws {RangeError} When scale or bias does not have x's last axis.
 */
export function layerNorm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: number): Tensor {
  ensureKernels();
  const width = x.shape[x.shape.length - 1];
  if ([scale, bias].some(({ shape }) => shape.length !== 1 || shape[0] !== width)) {
    throw new RangeError(
      `Cannot normalise [${x.shape}] with a scale of [${scale.shape}] and a bias of [${bias.shape}]: ` +
        "both must be vectors as long as the last axis",
    );
  }
  return runKernel(LAYER_NORM, { x, scale, bias }, { epsilon } satisfies LayerNormAttrs);
}

const ensureKernels = kernelRegistrar({
  cpu: LAYER_NORM_CPU,
  wasm: LAYER_NORM_WASM,
  webgpu: LAYER_NORM_WEBGPU,
  gradients: {
    [LAYER_NORM]: {
      inputs: ["x", "scale"],
      of: (dy, [x, scale], attrs) => ({
        x: () => runKernel(LAYER_NORM_GRADIENT, { x, scale, dy }, attrs),
        scale: () => runKernel(LAYER_NORM_SCALE_GRADIENT, { x, dy }, attrs),
        bias: () => tf.sum(tf.reshape(dy, [-1, scale.size]), 0),
      }),
    },
  },
});

/**
 * RMSNorm as one operation with gradients, for every tfjs backend.
 *
 * @module
 */

import type { Tensor } from "../policy/tensors.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";
import { RMS_NORM_CPU } from "./rms_norm_cpu.ts";
import {
  RMS_NORM,
  RMS_NORM_GRADIENT,
  RMS_NORM_SCALE_GRADIENT,
  type RmsNormAttrs,
} from "./rms_norm_kernel.ts";
import { RMS_NORM_WASM } from "./rms_norm_wasm.ts";
import { RMS_NORM_WEBGPU } from "./rms_norm_webgpu.ts";

/**
 * x / rms(x) · (1 + scale), with rms over the last axis. Differentiable with respect to both.
 *
 * @param x `[…, D]` float32.
 * @param scale `[D]` float32.
 * @param epsilon Added to the mean square.
 * @returns The shape of x.
 * @throws {RangeError} When the scale does not have x's last axis.
 */
export function rmsNorm(x: Tensor, scale: Tensor, epsilon: number): Tensor {
  ensureKernels();
  if (scale.shape.length !== 1 || x.shape[x.shape.length - 1] !== scale.shape[0]) {
    throw new RangeError(
      `Cannot normalise [${x.shape}] with a scale of [${scale.shape}]: the scale must be a vector ` +
        "as long as the last axis",
    );
  }
  return runKernel(RMS_NORM, { x, scale }, { epsilon } satisfies RmsNormAttrs);
}

const ensureKernels = kernelRegistrar({
  cpu: RMS_NORM_CPU,
  wasm: RMS_NORM_WASM,
  webgpu: RMS_NORM_WEBGPU,
  gradients: {
    [RMS_NORM]: {
      inputs: ["x", "scale"],
      of: (dy, [x, scale], attrs) => ({
        x: () => runKernel(RMS_NORM_GRADIENT, { x, scale, dy }, attrs),
        scale: () => runKernel(RMS_NORM_SCALE_GRADIENT, { x, dy }, attrs),
      }),
    },
  },
});

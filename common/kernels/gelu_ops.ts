/**
 * gelu and its product with another tensor as operations with gradients, for every tfjs backend.
 *
 * @module
 */

import type { Tensor } from "../policy/tensors.ts";
import { GELU_CPU } from "./gelu_cpu.ts";
import { GATED_GELU, GATED_GELU_GRADIENT, GELU, GELU_GRADIENT } from "./gelu_kernel.ts";
import { GELU_WASM } from "./gelu_wasm.ts";
import { GELU_WEBGPU } from "./gelu_webgpu.ts";
import { kernelRegistrar, runKernel, runKernelForAll } from "./register_kernels.ts";

/**
 * gelu, tanh approximation. Differentiable; training keeps x alone.
 * @param x Any shape, float32.
 * @returns The shape of x.
 */
export function gelu(x: Tensor): Tensor {
  ensureKernels();
  return runKernel(GELU, { x });
}

/**
 * gelu(gate) · up, number by number. Differentiable with respect to both.
 * @param gate Any shape, float32.
 * @param up The same shape.
 * @throws {RangeError} When the shapes differ.
 */
export function gatedGelu(gate: Tensor, up: Tensor): Tensor {
  ensureKernels();
  if (gate.shape.join() !== up.shape.join()) {
    throw new RangeError(
      `Cannot gate [${up.shape}] with gelu of [${gate.shape}]: their shapes must be the same`,
    );
  }
  return runKernel(GATED_GELU, { gate, up });
}

/**
 * Gradients of {@link gatedGelu}.
 * @param dy Gradient of its result.
 * @returns Those of gate and of up.
 */
export function gatedGeluGradients(gate: Tensor, up: Tensor, dy: Tensor): [Tensor, Tensor] {
  ensureKernels();
  return runKernelForAll(GATED_GELU_GRADIENT, { gate, up, dy }) as [Tensor, Tensor];
}

const ensureKernels = kernelRegistrar({
  cpu: GELU_CPU,
  wasm: GELU_WASM,
  webgpu: GELU_WEBGPU,
  gradients: {
    [GELU]: {
      inputs: ["x"],
      of: (dy, [x]) => ({ x: () => runKernel(GELU_GRADIENT, { x, dy }) }),
    },
    [GATED_GELU]: {
      inputs: ["gate", "up"],
      // One pass gives both, and whoever asks for one asks for the other.
      of: (dy, [gate, up]) => {
        const [dGate, dUp] = gatedGeluGradients(gate, up, dy);
        return { gate: () => dGate, up: () => dUp };
      },
    },
  },
});

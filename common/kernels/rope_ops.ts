/**
 * The rotary position embedding as one operation with a gradient, for every tfjs backend.
 *
 * @module
 */

import type { Tensor, Tensor3D } from "../policy/tensors.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";
import { ROPE_CPU } from "./rope_cpu.ts";
import { ROPE, type RopeAttrs, sizesOf } from "./rope_kernel.ts";
import { ROPE_WASM } from "./rope_wasm.ts";
import { ROPE_WEBGPU } from "./rope_webgpu.ts";

/**
 * Rotate heads, halves split: (x1·cos − x2·sin, x2·cos + x1·sin). Differentiable with respect to x.
 *
 * @param x `[B, T, N, K]` or `[B, T, N · K]` float32, K even.
 * @param table `[B, T, K]`: cosines of a position's K / 2 angles, then their sines.
 * @param factor What the result is multiplied by, such as the query's 1 / √K.
 * @returns The shape of x.
 * @throws {RangeError} When K is odd, or x's shape does not fit the table's.
 */
export function rotate(x: Tensor, table: Tensor3D, factor = 1): Tensor {
  ensureKernels();
  const [batch, steps, width] = table.shape;
  const { heads } = sizesOf(x, table);
  const isSameBatch = x.shape[0] === batch && x.shape[1] === steps;
  if (!isSameBatch || !Number.isInteger(heads) || width % 2 !== 0) {
    throw new RangeError(
      `Cannot rotate [${x.shape}] by angles of [${table.shape}]: the first two axes must be the same, ` +
        "and heads as wide as the angles' last axis, which must be even",
    );
  }
  return runKernel(ROPE, { x, table }, { factor, isBackwards: false } satisfies RopeAttrs);
}

const ensureKernels = kernelRegistrar({
  cpu: ROPE_CPU,
  wasm: ROPE_WASM,
  webgpu: ROPE_WEBGPU,
  gradients: {
    [ROPE]: {
      inputs: ["table"],
      of: (dy, [table], attrs) => {
        const { isBackwards } = attrs as RopeAttrs;
        return {
          x: () => runKernel(ROPE, { x: dy, table }, { ...attrs, isBackwards: !isBackwards }),
        };
      },
    },
  },
});

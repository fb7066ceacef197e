/**
 * The rotary position embedding for tfjs's cpu backend: the definition that the others are held to.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import type { KernelTable } from "./register_kernels.ts";
import { factorsOf, ROPE, type RopeArgs, sizesOf } from "./rope_kernel.ts";

/** The kernel by its name. */
export const ROPE_CPU: KernelTable = { [ROPE]: rope };

function rope({ inputs, attrs, backend }: RopeArgs<CpuBackend>): TensorInfo {
  const [x, table] = [valuesOf(backend, inputs.x), valuesOf(backend, inputs.table)];
  const { positions, heads, half } = sizesOf(inputs.x, inputs.table);
  const [cosFactor, sinFactor] = factorsOf(attrs);
  const y = new Float32Array(x.length);
  for (let position = 0; position < positions; position++) {
    for (let head = 0; head < heads; head++) {
      const at = (position * heads + head) * 2 * half;
      for (let j = 0; j < half; j++) {
        const cos = table[position * 2 * half + j] * cosFactor;
        const sin = table[position * 2 * half + half + j] * sinFactor;
        const [first, second] = [x[at + j], x[at + half + j]];
        y[at + j] = first * cos - second * sin;
        y[at + half + j] = second * cos + first * sin;
      }
    }
  }
  return backend.makeTensorInfo(inputs.x.shape, "float32", y);
}

/**
 * The rotary position embedding for tfjs's WebGPU backend: a thread for each pair of numbers.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { KernelTable } from "./register_kernels.ts";
import { factorsOf, ROPE, type RopeArgs, sizesOf } from "./rope_kernel.ts";
import { makeProgram, type WebgpuBackend } from "./webgpu_backend.ts";

/** The kernel by its name. */
export const ROPE_WEBGPU: KernelTable = { [ROPE]: rope };

/** Of a workgroup. */
const THREADS = 64;

const CODE = `
  fn main(index : i32) {
    if (index >= uniforms.pairs) { return; }
    let row = index / uniforms.half; // a head at a position
    let j = index % uniforms.half;
    let cosAt = (row / uniforms.heads) * 2 * uniforms.half + j;
    let cos = table[cosAt] * uniforms.cosFactor;
    let sin = table[cosAt + uniforms.half] * uniforms.sinFactor;
    let at = row * 2 * uniforms.half + j;
    let first = x[at];
    let second = x[at + uniforms.half];
    result[at] = first * cos - second * sin;
    result[at + uniforms.half] = second * cos + first * sin;
  }`;

function rope({ inputs: { x, table }, attrs, backend }: RopeArgs<WebgpuBackend>): TensorInfo {
  const { positions, heads, half } = sizesOf(x, table);
  const pairs = positions * heads * half;
  const program = makeProgram({
    name: "rope",
    outputShape: x.shape,
    groups: Math.ceil(pairs / THREADS),
    workgroupSize: [THREADS, 1, 1],
    inputs: { x: 1, table: 1 },
    uniforms: "pairs : i32, heads : i32, half : i32, cosFactor : f32, sinFactor : f32,",
    code: CODE,
  });
  return backend.runWebGPUProgram(program, [x, table], "float32", [
    ...[pairs, heads, half].map((n) => ({ type: "int32" as const, data: [n] })),
    ...factorsOf(attrs).map((factor) => ({ type: "float32" as const, data: [factor] })),
  ]);
}

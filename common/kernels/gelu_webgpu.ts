/**
 * gelu and its product with another tensor for tfjs's WebGPU backend: a thread a number.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  GATED_GELU,
  GATED_GELU_GRADIENT,
  type GatedGeluArgs,
  type GatedGeluGradientArgs,
  GELU,
  GELU_CUBIC,
  GELU_GRADIENT,
  GELU_LINEAR,
  type GeluArgs,
  type GeluGradientArgs,
} from "./gelu_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { makeProgram, type WebgpuBackend } from "./webgpu_backend.ts";

/** The kernels by their names. */
export const GELU_WEBGPU: KernelTable = {
  [GELU]: ({ inputs: { x }, backend }: GeluArgs<WebgpuBackend>) =>
    run(backend, "gelu", { x }, "gelu(x[index])"),
  [GELU_GRADIENT]: ({ inputs: { x, dy }, backend }: GeluGradientArgs<WebgpuBackend>) =>
    run(backend, "geluGradient", { x, dy }, "dy[index] * geluSlope(x[index])"),
  [GATED_GELU]: ({ inputs: { gate, up }, backend }: GatedGeluArgs<WebgpuBackend>) =>
    gatedGeluOnGpu(backend, gate, up),
  [GATED_GELU_GRADIENT]: (args: GatedGeluGradientArgs<WebgpuBackend>) => {
    const { inputs: { gate, up, dy }, backend } = args;
    const slope = "dy[index] * up[index] * geluSlope(gate[index])";
    return [
      run(backend, "gatedGeluGradient", { gate, up, dy }, slope),
      run(backend, "gatedGeluUpGradient", { gate, dy }, "dy[index] * gelu(gate[index])"),
    ];
  },
};

/** Of a workgroup. */
const THREADS = 64;

/** WGSL: `gelu(x)` and its derivative `geluSlope(x)`. The bound keeps exp() finite: σ is 0 beyond it. */
export const GELU_WGSL: string = `
  fn geluShare(x : f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x * (${GELU_LINEAR} + ${GELU_CUBIC} * x * x), 80.0)));
  }
  fn gelu(x : f32) -> f32 { return x * geluShare(x); }
  fn geluSlope(x : f32) -> f32 {
    let share = geluShare(x);
    return share * (1.0 + x * (1.0 - share) * (${GELU_LINEAR} + ${3 * GELU_CUBIC} * x * x));
  }`;

function run(
  backend: WebgpuBackend,
  name: string,
  inputs: Readonly<Record<string, TensorInfo>>,
  value: string,
): TensorInfo {
  const tensors = Object.values(inputs);
  const [{ shape }] = tensors;
  const size = shape.reduce((a, b) => a * b, 1);
  const program = makeProgram({
    name,
    outputShape: shape,
    groups: Math.ceil(size / THREADS),
    workgroupSize: [THREADS, 1, 1],
    inputs: Object.fromEntries(Object.keys(inputs).map((key) => [key, 1])),
    uniforms: "numbers : i32,",
    code: `
  ${GELU_WGSL}
  fn main(index : i32) {
    if (index < uniforms.numbers) { result[index] = ${value}; }
  }`,
  });
  const uniforms = [{ type: "int32" as const, data: [size] }];
  return backend.runWebGPUProgram(program, tensors, "float32", uniforms);
}

/** gelu(gate) · up as a new tensor, for kernels that do it on the way. */
export function gatedGeluOnGpu(
  backend: WebgpuBackend,
  gate: TensorInfo,
  up: TensorInfo,
): TensorInfo {
  return run(backend, "gatedGelu", { gate, up }, "gelu(gate[index]) * up[index]");
}

/**
 * LayerNorm for tfjs's WebGPU backend: a workgroup a row. The scale's gradient has a workgroup for each
 * column, over rows that were normalised before.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  LAYER_NORM,
  LAYER_NORM_GRADIENT,
  LAYER_NORM_SCALE_GRADIENT,
  type LayerNormArgs,
  type LayerNormGradientArgs,
  type LayerNormScaleGradientArgs,
} from "./layer_norm_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { rowsOf } from "./rms_norm_kernel.ts";
import {
  GROUP_ID,
  groupSum,
  makeProgram,
  type Uniform,
  type WebgpuBackend,
} from "./webgpu_backend.ts";

/** The kernels by their names. */
export const LAYER_NORM_WEBGPU: KernelTable = {
  [LAYER_NORM]: ({ inputs, attrs, backend }: LayerNormArgs<WebgpuBackend>) => {
    const { x, scale, bias } = inputs;
    const value = "normal(at + j, m) * scale[j] + bias[j]";
    return overRows(backend, "layerNorm", { x, scale, bias }, attrs.epsilon, "", value);
  },
  [LAYER_NORM_GRADIENT]: ({ inputs, attrs, backend }: LayerNormGradientArgs<WebgpuBackend>) => {
    const { x, scale, dy } = inputs;
    return overRows(backend, "layerNormGradient", { x, scale, dy }, attrs.epsilon, SUMS, SLOPE);
  },
  [LAYER_NORM_SCALE_GRADIENT]: scaleGradient,
};

/** Of a workgroup. */
const THREADS = 64;

/** What the gradient of a row needs besides its moments. */
const SUMS = `
    var sumPart = 0.0;
    var dotPart = 0.0;
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      let g = dy[at + j] * scale[j];
      sumPart += g;
      dotPart += g * normal(at + j, m);
    }
    let shift = sumOfGroup(sumPart) / f32(uniforms.width);
    let along = sumOfGroup(dotPart) / f32(uniforms.width);`;
const SLOPE = "m.y * (dy[at + j] * scale[j] - shift - normal(at + j, m) * along)";

/** `m` is mean and factor of the row from `at`. More workgroups than rows may run: they write nothing. */
function overRows(
  backend: WebgpuBackend,
  name: string,
  inputs: Readonly<Record<string, TensorInfo>>,
  epsilon: number,
  before: string,
  value: string,
): TensorInfo {
  return run(backend, {
    name,
    inputs,
    epsilon,
    outputShape: inputs.x.shape,
    groups: rowsOf(inputs.x)[0],
    code: `
  ${GROUP_ID}
  ${groupSum(THREADS)}
  fn normal(i : i32, m : vec2<f32>) -> f32 { return (x[i] - m.x) * m.y; }
  fn main(index : i32) {
    let row = groupId();
    let at = min(row, uniforms.rows - 1) * uniforms.width;
    var part = 0.0;
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) { part += x[at + j]; }
    let mean = sumOfGroup(part) / f32(uniforms.width);
    part = 0.0;
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      part += (x[at + j] - mean) * (x[at + j] - mean);
    }
    let m = vec2<f32>(
      mean,
      inverseSqrt(sumOfGroup(part) / f32(uniforms.width) + uniforms.epsilon),
    );
    ${before}
    if (row >= uniforms.rows) { return; }
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) { result[at + j] = ${value}; }
  }`,
  });
}

function scaleGradient(args: LayerNormScaleGradientArgs<WebgpuBackend>): TensorInfo {
  const { inputs: { x, dy }, attrs: { epsilon }, backend } = args;
  const [, width] = rowsOf(x);
  const normal = overRows(backend, "layerNormRows", { x }, epsilon, "", "normal(at + j, m)");
  const out = run(backend, {
    name: "layerNormScaleGradient",
    inputs: { x: normal, dy },
    epsilon,
    outputShape: [width],
    groups: width,
    code: `
  ${GROUP_ID}
  ${groupSum(THREADS)}
  fn main(index : i32) {
    let column = groupId();
    let j = min(column, uniforms.width - 1);
    var sum = 0.0;
    for (var row = i32(localIndex); row < uniforms.rows; row += ${THREADS}) {
      sum += dy[row * uniforms.width + j] * x[row * uniforms.width + j];
    }
    let total = sumOfGroup(sum);
    if (column < uniforms.width && localIndex == 0u) { result[column] = total; }
  }`,
  });
  backend.disposeData(normal.dataId);
  return out;
}

interface Run {
  /** Tells its code from all others'. */
  readonly name: string;
  /** Inputs by their names; x is one of them. */
  readonly inputs: Readonly<Record<string, TensorInfo>>;
  readonly epsilon: number;
  readonly outputShape: readonly number[];
  /** Workgroups: one for each row, or for each column. */
  readonly groups: number;
  readonly code: string;
}

function run(backend: WebgpuBackend, parts: Run): TensorInfo {
  const { inputs, epsilon } = parts;
  const [rows, width] = rowsOf(inputs.x);
  const program = makeProgram({
    ...parts,
    workgroupSize: [THREADS, 1, 1],
    inputs: Object.fromEntries(Object.keys(inputs).map((name) => [name, 1])),
    uniforms: "rows : i32, width : i32, epsilon : f32,",
  });
  const uniforms: Uniform[] = [
    { type: "int32", data: [rows] },
    { type: "int32", data: [width] },
    { type: "float32", data: [epsilon] },
  ];
  return backend.runWebGPUProgram(program, Object.values(inputs), "float32", uniforms);
}

/**
 * RMSNorm for tfjs's WebGPU backend: a workgroup a row. The scale's gradient has a workgroup for each
 * column, whose threads share out the rows.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { KernelTable } from "./register_kernels.ts";
import {
  RMS_NORM,
  RMS_NORM_GRADIENT,
  RMS_NORM_SCALE_GRADIENT,
  type RmsNormArgs,
  type RmsNormGradientArgs,
  type RmsNormScaleGradientArgs,
  rowsOf,
} from "./rms_norm_kernel.ts";
import {
  GROUP_ID,
  groupSum,
  makeProgram,
  type Uniform,
  type WebgpuBackend,
} from "./webgpu_backend.ts";

/** The kernels by their names. */
export const RMS_NORM_WEBGPU: KernelTable = {
  [RMS_NORM]: rmsNorm,
  [RMS_NORM_GRADIENT]: gradient,
  [RMS_NORM_SCALE_GRADIENT]: scaleGradient,
};

/** Of a workgroup. */
const THREADS = 64;

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

/** `factorOf(at)`: r of the row from `at`, for all threads. */
const FACTOR = `
  ${GROUP_ID}
  ${groupSum(THREADS)}
  fn factorOf(at : i32) -> f32 {
    var sum = 0.0;
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      sum += x[at + j] * x[at + j];
    }
    return inverseSqrt(sumOfGroup(sum) / f32(uniforms.width) + uniforms.epsilon);
  }`;

function rmsNorm({ inputs, attrs, backend }: RmsNormArgs<WebgpuBackend>): TensorInfo {
  const { x, scale } = inputs;
  return run(backend, {
    name: "rmsNorm",
    inputs: { x, scale },
    epsilon: attrs.epsilon,
    outputShape: x.shape,
    groups: rowsOf(x)[0],
    // More workgroups than rows may run: they compute the last row again, and write nothing.
    code: `
  ${FACTOR}
  fn main(index : i32) {
    let row = groupId();
    let at = min(row, uniforms.rows - 1) * uniforms.width;
    let factor = factorOf(at);
    if (row >= uniforms.rows) { return; }
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      result[at + j] = x[at + j] * factor * (1.0 + scale[j]);
    }
  }`,
  });
}

function gradient({ inputs, attrs, backend }: RmsNormGradientArgs<WebgpuBackend>): TensorInfo {
  const { x, scale, dy } = inputs;
  return run(backend, {
    name: "rmsNormGradient",
    inputs: { x, scale, dy },
    epsilon: attrs.epsilon,
    outputShape: x.shape,
    groups: rowsOf(x)[0],
    code: `
  ${FACTOR}
  fn main(index : i32) {
    let row = groupId();
    let at = min(row, uniforms.rows - 1) * uniforms.width;
    let factor = factorOf(at);
    var dot = 0.0;
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      dot += dy[at + j] * (1.0 + scale[j]) * x[at + j];
    }
    let along = factor * factor * sumOfGroup(dot) / f32(uniforms.width);
    if (row >= uniforms.rows) { return; }
    for (var j = i32(localIndex); j < uniforms.width; j += ${THREADS}) {
      result[at + j] = factor * (dy[at + j] * (1.0 + scale[j]) - x[at + j] * along);
    }
  }`,
  });
}

/** The factors of all rows come first, so that no column computes them anew. */
function scaleGradient(args: RmsNormScaleGradientArgs<WebgpuBackend>): TensorInfo {
  const { inputs: { x, dy }, attrs: { epsilon }, backend } = args;
  const [rows, width] = rowsOf(x);
  const factors = run(backend, {
    name: "rmsNormFactors",
    inputs: { x },
    epsilon,
    outputShape: [rows],
    groups: rows,
    code: `
  ${FACTOR}
  fn main(index : i32) {
    let row = groupId();
    let factor = factorOf(min(row, uniforms.rows - 1) * uniforms.width);
    if (row < uniforms.rows && localIndex == 0u) { result[row] = factor; }
  }`,
  });
  const out = run(backend, {
    name: "rmsNormScaleGradient",
    inputs: { x, dy, factors },
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
      let at = row * uniforms.width + j;
      sum += dy[at] * x[at] * factors[row];
    }
    let total = sumOfGroup(sum);
    if (column < uniforms.width && localIndex == 0u) { result[column] = total; }
  }`,
  });
  backend.disposeData(factors.dataId);
  return out;
}

/**
 * RMSNorm for tfjs's cpu backend: the definition that the other backends are held to. Every sum is in
 * float64.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
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

/** The kernels by their names. */
export const RMS_NORM_CPU: KernelTable = {
  [RMS_NORM]: rmsNorm,
  [RMS_NORM_GRADIENT]: gradient,
  [RMS_NORM_SCALE_GRADIENT]: scaleGradient,
};

type Values = Float32Array | Int32Array;

/** 1 / √(mean(x²) + ε) of the row from `at`. */
function factorOf(x: Values, at: number, width: number, epsilon: number): number {
  let sum = 0;
  for (let j = at; j < at + width; j++) sum += x[j] * x[j];
  return 1 / Math.sqrt(sum / width + epsilon);
}

function rmsNorm({ inputs, attrs, backend }: RmsNormArgs<CpuBackend>): TensorInfo {
  const [x, scale] = [valuesOf(backend, inputs.x), valuesOf(backend, inputs.scale)];
  const [rows, width] = rowsOf(inputs.x);
  const y = new Float32Array(x.length);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    const factor = factorOf(x, at, width, attrs.epsilon);
    for (let j = 0; j < width; j++) y[at + j] = x[at + j] * factor * (1 + scale[j]);
  }
  return backend.makeTensorInfo(inputs.x.shape, "float32", y);
}

/** dx = r · (g − x · r² · mean(g · x)) with g = dy · (1 + scale). */
function gradient({ inputs, attrs, backend }: RmsNormGradientArgs<CpuBackend>): TensorInfo {
  const [x, scale] = [valuesOf(backend, inputs.x), valuesOf(backend, inputs.scale)];
  const dy = valuesOf(backend, inputs.dy);
  const [rows, width] = rowsOf(inputs.x);
  const dx = new Float32Array(x.length);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    const factor = factorOf(x, at, width, attrs.epsilon);
    let dot = 0;
    for (let j = 0; j < width; j++) dot += dy[at + j] * (1 + scale[j]) * x[at + j];
    const along = factor * factor * dot / width;
    for (let j = 0; j < width; j++) {
      dx[at + j] = factor * (dy[at + j] * (1 + scale[j]) - x[at + j] * along);
    }
  }
  return backend.makeTensorInfo(inputs.x.shape, "float32", dx);
}

/** Sum over rows of dy · x · r. */
function scaleGradient(
  { inputs, attrs, backend }: RmsNormScaleGradientArgs<CpuBackend>,
): TensorInfo {
  const [x, dy] = [valuesOf(backend, inputs.x), valuesOf(backend, inputs.dy)];
  const [rows, width] = rowsOf(inputs.x);
  const sums = new Float64Array(width);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    const factor = factorOf(x, at, width, attrs.epsilon);
    for (let j = 0; j < width; j++) sums[j] += dy[at + j] * x[at + j] * factor;
  }
  return backend.makeTensorInfo([width], "float32", Float32Array.from(sums));
}

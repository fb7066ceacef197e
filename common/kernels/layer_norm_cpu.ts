/**
 * LayerNorm for tfjs's cpu backend: the definition that the other backends are held to. Every sum is in
 * float64.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
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

/** The kernels by their names. */
export const LAYER_NORM_CPU: KernelTable = {
  [LAYER_NORM]: layerNorm,
  [LAYER_NORM_GRADIENT]: gradient,
  [LAYER_NORM_SCALE_GRADIENT]: scaleGradient,
};

/** (x − mean) · r of every row, and r of each. */
function normalise(x: Float32Array | Int32Array, width: number, epsilon: number) {
  const normal = new Float64Array(x.length);
  const factors = new Float64Array(x.length / width);
  for (let row = 0; row < factors.length; row++) {
    const at = row * width;
    let sum = 0, squares = 0;
    for (let j = at; j < at + width; j++) sum += x[j];
    const mean = sum / width;
    for (let j = at; j < at + width; j++) squares += (x[j] - mean) ** 2;
    factors[row] = 1 / Math.sqrt(squares / width + epsilon);
    for (let j = at; j < at + width; j++) normal[j] = (x[j] - mean) * factors[row];
  }
  return { normal, factors };
}

function layerNorm({ inputs, attrs, backend }: LayerNormArgs<CpuBackend>): TensorInfo {
  const [scale, bias] = [valuesOf(backend, inputs.scale), valuesOf(backend, inputs.bias)];
  const [, width] = rowsOf(inputs.x);
  const { normal } = normalise(valuesOf(backend, inputs.x), width, attrs.epsilon);
  const y = Float32Array.from(normal, (value, i) => value * scale[i % width] + bias[i % width]);
  return backend.makeTensorInfo(inputs.x.shape, "float32", y);
}

/** dx = r · (g − mean(g) − n · mean(g · n)) with n the normalised row and g = dy · scale. */
function gradient({ inputs, attrs, backend }: LayerNormGradientArgs<CpuBackend>): TensorInfo {
  const [scale, dy] = [valuesOf(backend, inputs.scale), valuesOf(backend, inputs.dy)];
  const [rows, width] = rowsOf(inputs.x);
  const { normal, factors } = normalise(valuesOf(backend, inputs.x), width, attrs.epsilon);
  const dx = new Float32Array(normal.length);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    let sum = 0, dot = 0;
    for (let j = 0; j < width; j++) {
      sum += dy[at + j] * scale[j];
      dot += dy[at + j] * scale[j] * normal[at + j];
    }
    for (let j = 0; j < width; j++) {
      const along = (sum + normal[at + j] * dot) / width;
      dx[at + j] = factors[row] * (dy[at + j] * scale[j] - along);
    }
  }
  return backend.makeTensorInfo(inputs.x.shape, "float32", dx);
}

/** Sum over rows of dy · n. */
function scaleGradient(
  { inputs, attrs, backend }: LayerNormScaleGradientArgs<CpuBackend>,
): TensorInfo {
  const dy = valuesOf(backend, inputs.dy);
  const [, width] = rowsOf(inputs.x);
  const { normal } = normalise(valuesOf(backend, inputs.x), width, attrs.epsilon);
  const sums = new Float64Array(width);
  normal.forEach((value, i) => (sums[i % width] += dy[i] * value));
  return backend.makeTensorInfo([width], "float32", Float32Array.from(sums));
}

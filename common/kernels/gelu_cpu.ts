/**
 * gelu and its product with another tensor for tfjs's cpu backend: the definition that the others are
 * held to.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import {
  GATED_GELU,
  GATED_GELU_GRADIENT,
  type GatedGeluArgs,
  type GatedGeluGradientArgs,
  GELU,
  GELU_GRADIENT,
  type GeluArgs,
  type GeluGradientArgs,
  geluOf,
  geluSlope,
} from "./gelu_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";

/** The kernels by their names. */
export const GELU_CPU: KernelTable = {
  [GELU]: gelu,
  [GELU_GRADIENT]: gradient,
  [GATED_GELU]: gatedGelu,
  [GATED_GELU_GRADIENT]: gatedGradient,
};

function gelu({ inputs, backend }: GeluArgs<CpuBackend>): TensorInfo {
  const y = Float32Array.from(valuesOf(backend, inputs.x), geluOf);
  return backend.makeTensorInfo(inputs.x.shape, "float32", y);
}

function gradient({ inputs, backend }: GeluGradientArgs<CpuBackend>): TensorInfo {
  const [x, dy] = [valuesOf(backend, inputs.x), valuesOf(backend, inputs.dy)];
  const dx = Float32Array.from(dy, (slope, i) => slope * geluSlope(x[i]));
  return backend.makeTensorInfo(inputs.x.shape, "float32", dx);
}

function gatedGelu({ inputs, backend }: GatedGeluArgs<CpuBackend>): TensorInfo {
  const [gate, up] = [valuesOf(backend, inputs.gate), valuesOf(backend, inputs.up)];
  const y = Float32Array.from(gate, (value, i) => geluOf(value) * up[i]);
  return backend.makeTensorInfo(inputs.gate.shape, "float32", y);
}

function gatedGradient({ inputs, backend }: GatedGeluGradientArgs<CpuBackend>): TensorInfo[] {
  const [gate, up] = [valuesOf(backend, inputs.gate), valuesOf(backend, inputs.up)];
  const dy = valuesOf(backend, inputs.dy);
  const dGate = Float32Array.from(dy, (slope, i) => slope * up[i] * geluSlope(gate[i]));
  const dUp = Float32Array.from(dy, (slope, i) => slope * geluOf(gate[i]));
  return [dGate, dUp].map((d) => backend.makeTensorInfo(inputs.gate.shape, "float32", d));
}

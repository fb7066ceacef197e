/**
 * Kernels over quantised weights for tfjs's cpu backend: the definition that the others are held to.
 * Every sum is in float64, and weights are dequantised a row at a time.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type PackedMatrix, unpackRows } from "../quant/packed_matrix.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import {
  GATHER,
  type GatherArgs,
  MATMUL,
  MATMUL_TRANSPOSED,
  type MatMulArgs,
  type QuantizedAttrs,
} from "./quantized_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";

/** The kernels by their names. */
export const QUANTIZED_CPU: KernelTable = {
  [MATMUL]: matMul,
  [MATMUL_TRANSPOSED]: matMulTransposed,
  [GATHER]: gather,
};

function weightsOf(
  backend: CpuBackend,
  inputs: { readonly words: TensorInfo; readonly scales: TensorInfo },
  { bits, columns }: QuantizedAttrs,
): PackedMatrix {
  const values = (x: TensorInfo) => valuesOf(backend, x) as Int32Array;
  const { words, scales } = inputs;
  return { bits, columns, rows: words.shape[0], words: values(words), scales: values(scales) };
}

function matMul({ inputs, attrs, backend }: MatMulArgs<CpuBackend>): TensorInfo {
  const { columns, firstRow, rowCount } = attrs;
  const weights = weightsOf(backend, inputs, attrs);
  const x = valuesOf(backend, inputs.x);
  const [m] = inputs.x.shape;
  const out = new Float32Array(m * rowCount);
  const row = new Float32Array(columns);
  for (let n = 0; n < rowCount; n++) {
    unpackRows(weights, firstRow + n, 1, row);
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[i * columns + k] * row[k];
      out[i * rowCount + n] = sum;
    }
  }
  return backend.makeTensorInfo([m, rowCount], "float32", out);
}

function matMulTransposed({ inputs, attrs, backend }: MatMulArgs<CpuBackend>): TensorInfo {
  const { columns, firstRow, rowCount } = attrs;
  const weights = weightsOf(backend, inputs, attrs);
  const x = valuesOf(backend, inputs.x);
  const [m] = inputs.x.shape;
  const sums = new Float64Array(m * columns);
  const row = new Float32Array(columns);
  for (let n = 0; n < rowCount; n++) {
    unpackRows(weights, firstRow + n, 1, row);
    for (let i = 0; i < m; i++) {
      const factor = x[i * rowCount + n];
      for (let k = 0; k < columns; k++) sums[i * columns + k] += factor * row[k];
    }
  }
  return backend.makeTensorInfo([m, columns], "float32", Float32Array.from(sums));
}

function gather({ inputs, attrs, backend }: GatherArgs<CpuBackend>): TensorInfo {
  const { columns } = attrs;
  const weights = weightsOf(backend, inputs, attrs);
  const ids = valuesOf(backend, inputs.ids);
  const out = new Float32Array(ids.length * columns);
  ids.forEach((id, i) => unpackRows(weights, id, 1, out.subarray(i * columns, (i + 1) * columns)));
  return backend.makeTensorInfo([ids.length, columns], "float32", out);
}

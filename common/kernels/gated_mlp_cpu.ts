/**
 * The gated MLP over weights in few bits for tfjs's cpu backend: the definition that the others are held
 * to. Every sum is in float64.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { type PackedMatrix, unpackRows } from "../quant/packed_matrix.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import {
  outputOf,
  QUANTIZED_GATED_MLP,
  type QuantizedMlpArgs,
  type QuantizedMlpAttrs,
} from "./gated_mlp_kernel.ts";
import { geluOf } from "./gelu_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";

/** The kernel by its name. */
export const GATED_MLP_CPU: KernelTable = { [QUANTIZED_GATED_MLP]: gatedMlp };

function gatedMlp({ inputs, attrs, backend }: QuantizedMlpArgs<CpuBackend>): TensorInfo {
  const { width, hidden: hiddenWidth, outWidth } = attrs;
  const { rows, shape } = outputOf(inputs.x, outWidth);
  const packed = (
    words: TensorInfo,
    scales: TensorInfo,
    columns: number,
    { bits }: QuantizedMlpAttrs,
  ): PackedMatrix => ({
    bits,
    columns,
    rows: words.shape[0],
    words: valuesOf(backend, words) as Int32Array,
    scales: valuesOf(backend, scales) as Int32Array,
  });
  const gate = packed(inputs.gateWords, inputs.gateScales, width, attrs);
  const up = packed(inputs.upWords, inputs.upScales, width, attrs);
  const down = packed(inputs.downWords, inputs.downScales, hiddenWidth, attrs);
  const x = valuesOf(backend, inputs.x);
  const gates = product(x, rows, gate);
  const hidden = product(x, rows, up).map((value, i) => geluOf(gates[i]) * value);
  return backend.makeTensorInfo(shape, "float32", Float32Array.from(product(hidden, rows, down)));
}

/** x `[M, K]` by rows `[N, K]`: `[M, N]`. */
function product(x: ArrayLike<number>, m: number, weights: PackedMatrix): Float64Array {
  const { rows, columns } = weights;
  const out = new Float64Array(m * rows);
  const row = new Float32Array(columns);
  for (let n = 0; n < rows; n++) {
    unpackRows(weights, n, 1, row);
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[i * columns + k] * row[k];
      out[i * rows + n] = sum;
    }
  }
  return out;
}

/**
 * The gated MLP for tfjs's WebAssembly backend: three products and what is between them in one kernel.
 * A call of tfjs's own costs some 3 µs, and one token of a small policy takes ten of them for each MLP.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  GATED_MLP,
  type GatedMlpArgs,
  intoHidden,
  outOfHidden,
  outputOf,
  QUANTIZED_GATED_MLP,
  type QuantizedMlpArgs,
} from "./gated_mlp_kernel.ts";
import { gateInto } from "./gelu_wasm.ts";
import { multiplyMatrices } from "./matmul_wasm.ts";
import { multiplyInto } from "./quantized_wasm.ts";
import type { KernelTable } from "./register_kernels.ts";
import type { WasmBackend } from "./wasm_backend.ts";

/** The kernels by their names. */
export const GATED_MLP_WASM: KernelTable = {
  [GATED_MLP]: gatedMlp,
  [QUANTIZED_GATED_MLP]: quantizedGatedMlp,
};

function gatedMlp({ inputs, backend }: GatedMlpArgs<WasmBackend>): TensorInfo {
  const { x, gate, up, down } = inputs;
  const { rows, shape } = outputOf(x, down.shape[1]);
  const multiply = (a: TensorInfo, w: TensorInfo, to: TensorInfo) => {
    const [inner, columns] = w.shape;
    const size = { batch: 1, strideA: 0, strideB: 0, rows, inner, columns };
    multiplyMatrices(backend, a, w, to, size);
  };
  return throughHidden(backend, [rows, gate.shape[1]], shape, {
    gate: (out) => multiply(x, gate, out),
    up: (out) => multiply(x, up, out),
    down: (hidden, out) => multiply(hidden, down, out),
  });
}

function quantizedGatedMlp({ inputs, attrs, backend }: QuantizedMlpArgs<WasmBackend>): TensorInfo {
  const { x, gateWords, gateScales, upWords, upScales, downWords, downScales } = inputs;
  const { rows, shape } = outputOf(x, attrs.outWidth);
  const multiply = (
    weights: { x: TensorInfo; words: TensorInfo; scales: TensorInfo },
    size: ReturnType<typeof intoHidden>,
    out: TensorInfo,
  ) => multiplyInto(backend, weights, size, rows, out);
  return throughHidden(backend, [rows, attrs.hidden], shape, {
    gate: (out) => multiply({ x, words: gateWords, scales: gateScales }, intoHidden(attrs), out),
    up: (out) => multiply({ x, words: upWords, scales: upScales }, intoHidden(attrs), out),
    down: (hidden, out) =>
      multiply({ x: hidden, words: downWords, scales: downScales }, outOfHidden(attrs), out),
  });
}

/** The three products, each into a tensor that is there. */
interface Products {
  readonly gate: (out: TensorInfo) => void;
  readonly up: (out: TensorInfo) => void;
  readonly down: (hidden: TensorInfo, out: TensorInfo) => void;
}

function throughHidden(
  backend: WasmBackend,
  hiddenShape: readonly number[],
  outShape: readonly number[],
  products: Products,
): TensorInfo {
  const out = backend.makeOutput(outShape, "float32");
  const [gate, up] = [0, 1].map(() => backend.makeOutput(hiddenShape, "float32"));
  products.gate(gate);
  products.up(up);
  gateInto(backend, gate, up, gate);
  products.down(gate, out);
  backend.disposeData(gate.dataId);
  backend.disposeData(up.dataId);
  return out;
}

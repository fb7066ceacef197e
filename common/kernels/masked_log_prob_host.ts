/**
 * Masked log-probabilities for tfjs's cpu backend, where they are the definition (exponentials and sums in
 * float64), and for WebAssembly, where vectors make the exponentials.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { attentionLoops } from "./attention_simd.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import {
  MASKED_LOG_PROB,
  MASKED_LOG_PROB_GRADIENT,
  type MaskedLogProbArgs,
  type MaskedLogProbGradientArgs,
  type MaskedLogProbInputs,
} from "./masked_log_prob_kernel.ts";
import { logProbGradientRows, logProbRows, type RowSoftmax } from "./masked_log_prob_rows.ts";
import type { KernelTable } from "./register_kernels.ts";
import type { WasmBackend } from "./wasm_backend.ts";

/** The kernels by their names, for the cpu backend. */
export const MASKED_LOG_PROB_CPU: KernelTable = {
  [MASKED_LOG_PROB]({ inputs, attrs, backend }: MaskedLogProbArgs<CpuBackend>): TensorInfo {
    const [rows, vocab] = inputs.logits.shape;
    const out = new Float32Array(2 * rows);
    const weights = new Float64Array(vocab);
    logProbRows(cpuValues(backend, inputs), attrs.inverse, weights, softmax, out);
    return backend.makeTensorInfo([rows, 2], "float32", out);
  },
  [MASKED_LOG_PROB_GRADIENT](args: MaskedLogProbGradientArgs<CpuBackend>): TensorInfo {
    const { inputs, attrs, backend } = args;
    const { shape } = inputs.logits;
    const out = new Float32Array(shape[0] * shape[1]);
    const weights = new Float64Array(shape[1]);
    const dy = valuesOf(backend, inputs.dy);
    logProbGradientRows(cpuValues(backend, inputs), attrs.inverse, dy, weights, softmax, out);
    return backend.makeTensorInfo(shape, "float32", out);
  },
};

/** The kernels by their names, for the WebAssembly backend. */
export const MASKED_LOG_PROB_WASM: KernelTable = {
  [MASKED_LOG_PROB]({ inputs, attrs, backend }: MaskedLogProbArgs<WasmBackend>): TensorInfo {
    const [rows, vocab] = inputs.logits.shape;
    const out = backend.makeOutput([rows, 2], "float32");
    withRow(backend, vocab, (weights, softmax) => {
      const to = backend.typedArrayFromHeap(out) as Float32Array;
      logProbRows(wasmValues(backend, inputs), attrs.inverse, weights, softmax, to);
    });
    return out;
  },
  [MASKED_LOG_PROB_GRADIENT](args: MaskedLogProbGradientArgs<WasmBackend>): TensorInfo {
    const { inputs, attrs, backend } = args;
    const { shape } = inputs.logits;
    const out = backend.makeOutput(shape, "float32");
    withRow(backend, shape[1], (weights, softmax) => {
      const to = backend.typedArrayFromHeap(out) as Float32Array;
      const dy = backend.typedArrayFromHeap(inputs.dy);
      logProbGradientRows(wasmValues(backend, inputs), attrs.inverse, dy, weights, softmax, to);
    });
    return out;
  },
};

function cpuValues(backend: CpuBackend, { logits, allowed, tokens }: MaskedLogProbInputs) {
  const [l, a, t] = [logits, allowed, tokens].map((x) => valuesOf(backend, x));
  return { logits: l, allowed: a, tokens: t };
}

function wasmValues(backend: WasmBackend, { logits, allowed, tokens }: MaskedLogProbInputs) {
  const [l, a, t] = [logits, allowed, tokens].map((x) => backend.typedArrayFromHeap(x));
  return { logits: l, allowed: a, tokens: t };
}

const softmax: RowSoftmax = (row) => {
  let top = -Infinity, sum = 0;
  for (let i = 0; i < row.length; i++) top = Math.max(top, row[i]);
  for (let i = 0; i < row.length; i++) sum += row[i] = Math.exp(row[i] - top);
  for (let i = 0; i < row.length; i++) row[i] /= sum;
};

/** Lend one row of the memory, and a softmax that works there; the memory does not grow meanwhile. */
function withRow(
  backend: WasmBackend,
  vocab: number,
  use: (weights: Float32Array, softmax: RowSoftmax) => void,
): void {
  const scratch = backend.makeOutput([2, vocab], "float32");
  const both = backend.typedArrayFromHeap(scratch) as Float32Array;
  both.fill(0, vocab); // added to every score
  const at = backend.dataIdMap.get(scratch.dataId).memoryOffset;
  const row = 4 * vocab;
  const loops = attentionLoops(backend.wasm.asm.memory);
  use(
    both.subarray(0, vocab),
    () => loops.softmax({ at, row }, { at: at + row, row }, { groups: 1, group: 1, count: vocab }),
  );
  backend.disposeData(scratch.dataId);
}

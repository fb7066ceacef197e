/**
 * Kernels over quantised weights for tfjs's WebAssembly backend.
 *
 * A few rows of input are multiplied with the integers directly. Many are multiplied by XNNPACK, a
 * panel of the weights at a time: the panel is dequantised into a scratch that stays in the
 * processor's cache, so the memory in use stays near the packed size.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { GROUP_SIZE } from "../quant/group_scale.ts";
import { type PackedMatrix, rowWords, unpackRows } from "../quant/packed_matrix.ts";
import {
  GATHER,
  type GatherArgs,
  MATMUL,
  MATMUL_TRANSPOSED,
  type MatMulArgs,
  type QuantizedAttrs,
} from "./quantized_kernel.ts";
import { multiplyRanges, type WasmBackend } from "./wasm_backend.ts";

/** Numbers of a panel: 1 MiB, of which two cores' caches hold a copy each. */
const PANEL_NUMBERS = 1 << 18;
/** Up to so many rows of input, reading integers directly beats dequantising them for XNNPACK. */
const MAX_DIRECT_ROWS = 4;

/**
 * Register the kernels.
 * @param backendName Name of a WebAssembly backend.
 */
export function registerWasmQuantizedKernels(backendName: string): void {
  const add = (kernelName: string, kernelFunc: unknown) =>
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as tf.KernelFunc });
  add(MATMUL, matMul);
  add(MATMUL_TRANSPOSED, matMulTransposed);
  add(GATHER, gather);
}

const offsetOf = (backend: WasmBackend, x: tf.TensorInfo) =>
  backend.dataIdMap.get(x.dataId).memoryOffset;

const floatsOf = (backend: WasmBackend, x: tf.TensorInfo) =>
  backend.typedArrayFromHeap(x) as Float32Array;

/** Views of the packed weights, valid until the memory grows. */
function weightsOf(
  backend: WasmBackend,
  inputs: { readonly words: tf.TensorInfo; readonly scales: tf.TensorInfo },
  { bits, columns }: QuantizedAttrs,
): PackedMatrix {
  const ints = (x: tf.TensorInfo) => backend.typedArrayFromHeap(x) as Int32Array;
  const { words, scales } = inputs;
  return { bits, columns, rows: words.shape[0], words: ints(words), scales: ints(scales) };
}

function matMul(args: MatMulArgs<WasmBackend>): tf.TensorInfo {
  const { inputs, attrs: { columns, firstRow, rowCount }, backend } = args;
  const [m] = inputs.x.shape;
  const out = backend.makeOutput([m, rowCount], "float32");
  if (m <= MAX_DIRECT_ROWS) {
    multiplyDirectly(args, out);
    return out;
  }
  const width = Math.max(1, Math.min(rowCount, Math.floor(PANEL_NUMBERS / columns)));
  multiplyByPanels(args, out, { inner: columns, outer: rowCount, width }, (first, count, panel) => {
    const weights = weightsOf(backend, inputs, args.attrs);
    unpackColumns(weights, firstRow + first, count, panel);
  });
  return out;
}

function matMulTransposed(args: MatMulArgs<WasmBackend>): tf.TensorInfo {
  const { inputs, attrs: { columns, firstRow, rowCount }, backend } = args;
  const [m] = inputs.x.shape;
  const out = backend.makeOutput([m, columns], "float32");
  const groups = Math.max(1, Math.floor(PANEL_NUMBERS / rowCount / GROUP_SIZE));
  const width = Math.min(columns, groups * GROUP_SIZE);
  multiplyByPanels(args, out, { inner: rowCount, outer: columns, width }, (first, count, panel) => {
    const weights = weightsOf(backend, inputs, args.attrs);
    unpackBlock(weights, { firstRow, rowCount, firstColumn: first, columnCount: count }, panel);
  });
  return out;
}

/**
 * x `[m, inner]` by a matrix `[inner, outer]` that is made panel by panel.
 * @param fill Writes columns `first…first + count` of the matrix, `[inner, count]`.
 */
function multiplyByPanels(
  { inputs, backend }: MatMulArgs<WasmBackend>,
  out: tf.TensorInfo,
  { inner, outer, width }: {
    readonly inner: number;
    readonly outer: number;
    readonly width: number;
  },
  fill: (first: number, count: number, panel: Float32Array) => void,
): void {
  const [m] = inputs.x.shape;
  const scratch = backend.makeOutput([inner * width], "float32");
  const isOnePanel = width >= outer;
  const part = isOnePanel ? out : backend.makeOutput([m * width], "float32");
  for (let first = 0; first < outer; first += width) {
    const count = Math.min(width, outer - first);
    fill(first, count, floatsOf(backend, scratch));
    multiplyRanges(
      backend,
      { offset: offsetOf(backend, inputs.x), rows: m, columns: inner },
      { offset: offsetOf(backend, scratch), rows: inner, columns: count },
      offsetOf(backend, part),
    );
    if (isOnePanel) break;
    const from = floatsOf(backend, part);
    const to = floatsOf(backend, out);
    for (let i = 0; i < m; i++) {
      to.set(from.subarray(i * count, (i + 1) * count), i * outer + first);
    }
  }
  if (!isOnePanel) backend.disposeData(part.dataId);
  backend.disposeData(scratch.dataId);
}

/** Few rows of input: each weight is read once, as an integer. */
function multiplyDirectly(
  { inputs, attrs, backend }: MatMulArgs<WasmBackend>,
  out: tf.TensorInfo,
): void {
  const { bits, columns, firstRow, rowCount } = attrs;
  const { words, scales } = weightsOf(backend, inputs, attrs);
  const x = floatsOf(backend, inputs.x);
  const y = floatsOf(backend, out);
  const width = rowWords(bits, columns);
  const bytes = new Int8Array(words.buffer, words.byteOffset, 4 * words.length);
  const halves = new Float16Array(scales.buffer, scales.byteOffset, 2 * scales.length);
  const [m] = inputs.x.shape;
  for (let n = 0; n < rowCount; n++) {
    const row = firstRow + n;
    for (let i = 0; i < m; i++) {
      let sum = 0;
      for (let from = 0, group = 0; from < columns; from += GROUP_SIZE, group++) {
        const count = Math.min(GROUP_SIZE, columns - from);
        const at = i * columns + from;
        let part = 0;
        if (bits === 8) {
          const place = 4 * row * width.values + from;
          for (let c = 0; c < count; c++) part += x[at + c] * bytes[place + c];
        } else {
          const place = row * width.values + 4 * group;
          for (let c = 0; c < count; c++) {
            part += x[at + c] * (words[place + (c >> 3)] << (28 - 4 * (c & 7)) >> 28);
          }
        }
        sum += part * halves[2 * row * width.scales + group];
      }
      y[i * rowCount + n] = sum;
    }
  }
}

/** Rows `first…first + count` of W as columns: `[K, count]`. */
function unpackColumns(w: PackedMatrix, first: number, count: number, out: Float32Array): void {
  const row = new Float32Array(w.columns);
  for (let n = 0; n < count; n++) {
    unpackRows(w, first + n, 1, row);
    for (let k = 0, at = n; k < row.length; k++, at += count) out[at] = row[k];
  }
}

/** A block of W, `[rowCount, columnCount]`. */
function unpackBlock(
  w: PackedMatrix,
  { firstRow, rowCount, firstColumn, columnCount }: {
    readonly firstRow: number;
    readonly rowCount: number;
    readonly firstColumn: number;
    readonly columnCount: number;
  },
  out: Float32Array,
): void {
  const row = new Float32Array(w.columns);
  for (let n = 0; n < rowCount; n++) {
    unpackRows(w, firstRow + n, 1, row);
    out.set(row.subarray(firstColumn, firstColumn + columnCount), n * columnCount);
  }
}

function gather({ inputs, attrs, backend }: GatherArgs<WasmBackend>): tf.TensorInfo {
  const { columns } = attrs;
  const [count] = inputs.ids.shape;
  const out = backend.makeOutput([count, columns], "float32");
  const weights = weightsOf(backend, inputs, attrs);
  const ids = backend.typedArrayFromHeap(inputs.ids);
  const rows = floatsOf(backend, out);
  ids.forEach((id, i) => unpackRows(weights, id, 1, rows.subarray(i * columns, (i + 1) * columns)));
  return out;
}

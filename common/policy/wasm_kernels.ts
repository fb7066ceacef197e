/**
 * Kernels for tfjs's WebAssembly backend that make training possible and fast.
 *
 * What is wrong without them (tfjs 4.22, measured on one core): the fast XNNPACK matmul, 30 GFLOP/s,
 * serves only a single matrix without transposition, and packs what it multiplies by anew where that
 * is no constant; a batch or a transposed operand falls to a plain loop at 2.4 GFLOP/s. And `UnsortedSegmentSum`, the gradient of `gather`, does not exist. Every
 * tensor that a gradient needs is copied (`Identity`), and `gather` takes 430 µs for 512 rows of 64.
 *
 * BatchMatMul here is loops of our own, 48 GFLOP/s, or XNNPACK's product for large weights.
 * A copy shares the values, as a reshaped tensor does in tfjs, and rows are copied whole: 20 µs.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { multiplyMatrices, turned } from "../kernels/matmul_wasm.ts";
import type { WasmBackend } from "../kernels/wasm_backend.ts";

interface MatMulParams {
  readonly inputs: { readonly a: tf.TensorInfo; readonly b: tf.TensorInfo };
  readonly attrs: { readonly transposeA: boolean; readonly transposeB: boolean };
  readonly backend: WasmBackend;
}

let isRegistered = false;

/** Put the kernels in the place of tfjs's own. Calling it again does nothing. */
export function registerWasmKernels(): void {
  if (isRegistered) return;
  isRegistered = true;
  const original = tf.getKernel("GatherV2", "wasm");
  for (const name of ["BatchMatMul", "Identity", "GatherV2"]) tf.unregisterKernel(name, "wasm");
  const add = (kernelName: string, kernelFunc: unknown) =>
    tf.registerKernel({
      kernelName,
      backendName: "wasm",
      kernelFunc: kernelFunc as tf.KernelFunc,
    });
  add("BatchMatMul", batchMatMul);
  add("Identity", identity);
  tf.registerKernel({
    ...original, // with what it does when the backend starts
    kernelFunc: (params) => gather(params as unknown as GatherParams, original.kernelFunc),
  });
  add("UnsortedSegmentSum", unsortedSegmentSum);
}

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** `[…, m, k] · […, k, p]`; the leading axes agree, or are all 1 on one side, used for all. */
function batchMatMul({ inputs, attrs, backend }: MatMulParams): tf.TensorInfo {
  if (inputs.a.dtype !== "float32" || inputs.b.dtype !== "float32") {
    throw new TypeError(
      `Cannot multiply ${inputs.a.dtype} by ${inputs.b.dtype} on wasm: cast both to float32`,
    );
  }
  const leadingA = inputs.a.shape.slice(0, -2);
  const leadingB = inputs.b.shape.slice(0, -2);
  const batchA = product(leadingA);
  const batchB = product(leadingB);
  const [rowsA, columnsA] = inputs.a.shape.slice(-2);
  const [rowsB, columnsB] = inputs.b.shape.slice(-2);
  const [m, k] = attrs.transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [kB, p] = attrs.transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  const isBatchOdd = batchA !== 1 && batchB !== 1 && leadingA.join() !== leadingB.join();
  if (k !== kB || isBatchOdd) {
    throw new RangeError(
      `Cannot multiply [${inputs.a.shape}] by [${inputs.b.shape}]: inner axes are ${k} and ${kB}; ` +
        "they must be equal, and leading axes must agree or be all 1 on one side",
    );
  }
  const b = attrs.transposeB ? turned(backend, inputs.b, p, k) : inputs.b;
  const batch = batchA === 1 ? batchB : batchA;
  const leading = tf.broadcast_util.assertAndGetBroadcastShape(leadingA, leadingB);
  const out = backend.makeOutput([...leading, m, p], "float32");
  // One matrix for the whole batch: a single tall product.
  const isTall = batchA === batch && batchB === 1 && !attrs.transposeA;
  const size = isTall
    ? { batch: 1, rows: batch * m, inner: k, columns: p, strideA: 0, strideB: 0 }
    : {
      batch,
      rows: m,
      inner: k,
      columns: p,
      strideA: batchA === 1 ? 0 : m * k,
      strideB: batchB === 1 ? 0 : k * p,
    };
  multiplyMatrices(backend, inputs.a, b, out, size, attrs.transposeA);
  if (attrs.transposeB) backend.disposeData(b.dataId);
  return out;
}

interface SegmentSumParams {
  readonly inputs: { readonly x: tf.TensorInfo; readonly segmentIds: tf.TensorInfo };
  readonly attrs: { readonly numSegments: number };
  readonly backend: WasmBackend;
}

/** Row i of x `[n, …]` is added to row segmentIds[i] of the output `[numSegments, …]`. */
function unsortedSegmentSum({ inputs, attrs, backend }: SegmentSumParams): tf.TensorInfo {
  const { x, segmentIds } = inputs;
  const out = backend.makeOutput([attrs.numSegments, ...x.shape.slice(1)], "float32");
  // Taken after makeOutput: growing the heap detaches older views.
  const from = backend.typedArrayFromHeap(x);
  const ids = backend.typedArrayFromHeap(segmentIds);
  const to = backend.typedArrayFromHeap(out).fill(0);
  const width = to.length / attrs.numSegments;
  for (let row = 0; row < ids.length; row++) {
    const target = ids[row] * width;
    const source = row * width;
    for (let j = 0; j < width; j++) to[target + j] += from[source + j];
  }
  return out;
}

/** x under another name: tensors do not change, so both may have the same values. */
function identity({ inputs: { x }, backend }: {
  readonly inputs: { readonly x: tf.TensorInfo };
  readonly backend: WasmBackend;
}): tf.TensorInfo {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
}

interface GatherParams {
  readonly inputs: { readonly x: tf.TensorInfo; readonly indices: tf.TensorInfo };
  readonly attrs: { readonly axis: number; readonly batchDims: number };
  readonly backend: WasmBackend;
}

/** Rows of x `[N, …]` by their numbers `[…]`; anything else is left to tfjs. */
function gather(params: GatherParams, original: tf.KernelFunc): tf.TensorInfo {
  const { inputs: { x, indices }, attrs, backend } = params;
  const isByRows = attrs.axis === 0 && attrs.batchDims === 0 && x.dtype === "float32";
  if (!isByRows) {
    return original(params as unknown as Parameters<tf.KernelFunc>[0]) as tf.TensorInfo;
  }
  const [rows, ...rest] = x.shape;
  const width = product(rest);
  const out = backend.makeOutput([...indices.shape, ...rest], "float32");
  // Taken after makeOutput: growing the heap detaches older views.
  const from = backend.typedArrayFromHeap(x);
  const to = backend.typedArrayFromHeap(out);
  backend.typedArrayFromHeap(indices).forEach((row, i) => {
    if (row < 0 || row >= rows) {
      backend.disposeData(out.dataId);
      throw new RangeError(`Cannot gather row ${row} of a tensor that has ${rows}`);
    }
    to.set(from.subarray(row * width, (row + 1) * width), i * width);
  });
  return out;
}

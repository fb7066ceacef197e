/**
 * Operations on quantised weights, for every tfjs backend: a product, and rows looked up. Each is one
 * kernel that reads the packed integers; the weights are never there in float32 as a whole.
 *
 * The product has a gradient with respect to what is multiplied, so adapters and a critic train
 * through weights that stay as they are. The weights themselves have none.
 *
 * Letters: M rows of the input, K length of the summed axis, N rows of the weights.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor1D, Tensor2D } from "../policy/tensors.ts";
import { QUANTIZED_CPU } from "./quantized_cpu.ts";
import type { QuantizedMatrix } from "./quantized_matrix.ts";
import { GATHER, MATMUL, MATMUL_TRANSPOSED, type QuantizedAttrs } from "./quantized_kernel.ts";
import { QUANTIZED_WASM } from "./quantized_wasm.ts";
import { QUANTIZED_WEBGPU } from "./quantized_webgpu.ts";
import { kernelRegistrar, runKernel } from "./register_kernels.ts";

/** Some rows of a matrix. */
export interface RowRange {
  /** The first. */
  readonly firstRow: number;
  /** How many. */
  readonly rowCount: number;
}

/**
 * x · Wᵀ, where W is quantised.
 *
 * @param x `[M, K]` float32.
 * @param w `[N, K]`.
 * @param range Rows of W to multiply with; all of them if absent.
 * @returns `[M, N]`, or `[M, rowCount]`.
 * @throws {RangeError} When the inner axes differ, or W has no such rows.
 */
export function quantizedMatMul(x: Tensor2D, w: QuantizedMatrix, range?: RowRange): Tensor2D {
  ensureQuantizedKernels();
  if (x.shape[1] !== w.columns) {
    throw new RangeError(
      `Cannot multiply [${x.shape}] by weights of ${w.rows} rows of ${w.columns}: the last axis ` +
        `of the input is ${x.shape[1]}, ${w.columns} is needed`,
    );
  }
  const { firstRow, rowCount, ...attrs } = attrsOf(w, range);
  const products: Tensor2D[] = [];
  for (const { words, scales, ...part } of w.parts) {
    const first = Math.max(firstRow, part.firstRow);
    const count = Math.min(firstRow + rowCount, part.firstRow + part.rows) - first;
    if (count <= 0) continue;
    const rows = { firstRow: first - part.firstRow, rowCount: count };
    products.push(runKernel(MATMUL, { x, words, scales }, { ...attrs, ...rows }) as Tensor2D);
  }
  return products.length === 1 ? products[0] : tf.concat2d(products, 1);
}

/**
 * Rows of W in float32.
 *
 * @param w `[N, K]`.
 * @param ids `[M]` int32, each in 0…N−1.
 * @returns `[M, K]`. It has no gradient.
 */
export function quantizedRows(w: QuantizedMatrix, ids: Tensor1D): Tensor2D {
  ensureQuantizedKernels();
  const attrs = attrsOf(w);
  if (w.parts.length === 1) {
    const [{ words, scales }] = w.parts;
    return runKernel(GATHER, { ids, words, scales }, attrs) as Tensor2D;
  }
  // Every part looks up as many rows; those of other parts count nothing.
  return tf.tidy(() =>
    tf.addN(w.parts.map(({ firstRow, rows, words, scales }) => {
      const place = tf.sub(ids, firstRow);
      const isHere = tf.logicalAnd(tf.greaterEqual(place, 0), tf.less(place, rows));
      const known = tf.cast(tf.clipByValue(place, 0, rows - 1), "int32");
      const found = runKernel(GATHER, { ids: known, words, scales }, { ...attrs, rowCount: rows });
      return tf.mul(found, tf.expandDims(tf.cast(isHere, "float32"), 1));
    }))
  ) as Tensor2D;
}

function attrsOf(w: QuantizedMatrix, range?: RowRange): QuantizedAttrs {
  const { firstRow = 0, rowCount = w.rows } = range ?? {};
  if (firstRow < 0 || rowCount < 1 || firstRow + rowCount > w.rows) {
    throw new RangeError(
      `Cannot take ${rowCount} rows of quantised weights from row ${firstRow}: they have ${w.rows}`,
    );
  }
  return { bits: w.bits, columns: w.columns, firstRow, rowCount };
}

/** Makes sure that the kernels are there for the backend in force. */
export const ensureQuantizedKernels: () => void = kernelRegistrar({
  cpu: QUANTIZED_CPU,
  wasm: QUANTIZED_WASM,
  webgpu: QUANTIZED_WEBGPU,
  gradients: {
    [MATMUL]: {
      inputs: ["words", "scales"],
      of: (dy, [words, scales], attrs) => ({
        x: () => runKernel(MATMUL_TRANSPOSED, { x: dy, words, scales }, attrs),
      }),
    },
  },
});

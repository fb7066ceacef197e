/**
 * Products and transpositions of matrices in the memory of tfjs's WebAssembly backend.
 *
 * XNNPACK's product, which tfjs has, packs its second operand before a call and knows no transposed
 * ones. That pays for large weights; but training a small policy multiplies tall activations by small
 * weights and by each other. There, this has 48 GFLOP/s where XNNPACK has 32 without what it takes to
 * pack and to transpose, which is half as long again for gradients of weights (a Xeon of 2023, one core).
 *
 * @module
 */

import { assemble } from "./wasm_assembler.ts";
import { type MultiplyAdd, multiplyAddHere } from "./wasm_multiply_add.ts";
import { productFunction, TRANSPOSE } from "./wasm_products.ts";

/** A matrix in memory, in bytes; the numbers of a row lie side by side. */
export interface Strided {
  /** Where its first number lies. */
  readonly at: number;
  /** From one row to the next. */
  readonly row: number;
}

/** The first operand of a product. */
export interface Factor extends Strided {
  /** What is multiplied is the transpose of what lies there. False if absent. */
  readonly isTurned?: boolean;
}

/** Sizes of a product. */
export interface ProductSize {
  /** Rows of c, and of a (its columns in memory where it is turned). */
  readonly rows: number;
  /** Columns of b and c. */
  readonly columns: number;
  /** Columns of a, rows of b. */
  readonly inner: number;
}

/** The loops, bound to a memory. */
export interface MatrixLoops {
  /** c = a · b, or c += a · b. */
  multiply(a: Factor, b: Strided, c: Strided, size: ProductSize, isSum?: boolean): void;
  /** Columns of `from`, whose rows lie one behind another, become rows of `to`. */
  transpose(from: number, to: Strided, rows: number, columns: number): void;
}

const bound = new WeakMap<WebAssembly.Memory, MatrixLoops>();

/**
 * The loops over a memory; made once for each.
 * @param memory Memory of tfjs's WebAssembly backend.
 */
export function matrixLoops(memory: WebAssembly.Memory): MatrixLoops {
  let found = bound.get(memory);
  if (!found) {
    found = makeMatrixLoops(memory, multiplyAddHere());
    bound.set(memory, found);
  }
  return found;
}

/**
 * The loops over a memory, made anew.
 * @param multiplyAdd How products are added.
 */
export function makeMatrixLoops(
  memory: WebAssembly.Memory,
  multiplyAdd: MultiplyAdd,
): MatrixLoops {
  const code = assemble([
    productFunction("multiply", { isTurned: false, isSum: false }, multiplyAdd),
    productFunction("multiplySum", { isTurned: false, isSum: true }, multiplyAdd),
    productFunction("multiplyTurned", { isTurned: true, isSum: false }, multiplyAdd),
    productFunction("multiplyTurnedSum", { isTurned: true, isSum: true }, multiplyAdd),
    TRANSPOSE,
  ]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
  const loops = exports as Record<string, (...args: number[]) => void>;
  return {
    multiply(a, b, c, { rows, columns, inner }, isSum = false) {
      const run = a.isTurned
        ? isSum ? loops.multiplyTurnedSum : loops.multiplyTurned
        : isSum
        ? loops.multiplySum
        : loops.multiply;
      run(a.at, a.row, b.at, b.row, c.at, c.row, rows, columns, inner);
    },
    transpose: (from, to, rows, columns) =>
      loops.transpose(from, 4 * columns, to.at, to.row, rows, columns),
  };
}

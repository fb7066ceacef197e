/**
 * A product of two matrices for tfjs's WebAssembly backend, by whichever of two ways is quicker: loops
 * of our own, which take operands as they lie, or XNNPACK, which packs the second one first.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { matrixLoops, type ProductSize } from "./matrix_loops.ts";
import {
  multiplyOf,
  multiplyRanges,
  offsetOf,
  shapeBytes,
  type WasmBackend,
} from "./wasm_backend.ts";

/**
 * Numbers of a second operand, or of an output that is summed up, that our own loops multiply: 1 MiB,
 * which a core's second cache holds. They read it anew for every six rows.
 */
const CACHED_NUMBERS = 1 << 18;
/**
 * With fewer rows than this, what is read of a second operand is hardly used again: one of more numbers
 * than this, 128 KiB, then comes quicker from the packed form that XNNPACK keeps of a weight.
 */
const FEW_ROWS = 4, NEAR_NUMBERS = 1 << 15;
/** Rows of two tall matrices that are multiplied by each other at a time. */
const TALL_ROWS = 256;

/** Sizes of {@link multiplyMatrices}. */
export interface BatchSize extends ProductSize {
  /** Matrices of the product. */
  readonly batch: number;
  /** Numbers from one matrix of a to the next; 0 if there is one for all. */
  readonly strideA: number;
  /** The same of b. */
  readonly strideB: number;
}

/**
 * Multiply matrices, one after another.
 * @param a `[batch or 1, rows, inner]` or, turned, `[batch or 1, inner, rows]`.
 * @param b `[batch or 1, inner, columns]`.
 * @param out `[batch, rows, columns]`: it is there already, and is written.
 * @param isTurnedA What is multiplied is the transpose of a.
 */
export function multiplyMatrices(
  backend: WasmBackend,
  a: TensorInfo,
  b: TensorInfo,
  out: TensorInfo,
  size: BatchSize,
  isTurnedA = false,
): void {
  const { rows, columns, inner } = size;
  // Of two tall matrices only a few rows are read at a time; what is read again is their product.
  const again = isTurnedA ? rows * columns : inner * columns;
  if (again <= (rows < FEW_ROWS ? NEAR_NUMBERS : CACHED_NUMBERS)) {
    multiplyInPlace(backend, a, b, out, size, isTurnedA);
    return;
  }
  const straight = isTurnedA ? turned(backend, a, inner, rows) : a;
  multiplyPacked(backend, straight, b, out, size);
  if (isTurnedA) backend.disposeData(straight.dataId);
}

/**
 * Transposes of matrices. The caller frees them.
 * @param x `[…, rows, columns]`.
 * @returns `[batch, columns, rows]`.
 */
export function turned(
  backend: WasmBackend,
  x: TensorInfo,
  rows: number,
  columns: number,
): TensorInfo {
  const numbers = rows * columns;
  const batch = numbers === 0 ? 0 : x.shape.reduce((n, axis) => n * axis, 1) / numbers;
  const out = backend.makeOutput([batch, columns, rows], "float32");
  const { transpose } = matrixLoops(backend.wasm.asm.memory);
  const [from, to] = [x, out].map((tensor) => offsetOf(backend, tensor));
  for (let i = 0; i < batch; i++) {
    const byte = 4 * i * numbers;
    transpose(from + byte, { at: to + byte, row: 4 * rows }, rows, columns);
  }
  return out;
}

function multiplyInPlace(
  backend: WasmBackend,
  a: TensorInfo,
  b: TensorInfo,
  out: TensorInfo,
  { batch, strideA, strideB, rows, columns, inner }: BatchSize,
  isTurned: boolean,
): void {
  const { multiply } = matrixLoops(backend.wasm.asm.memory);
  const [fromA, fromB, to] = [a, b, out].map((tensor) => offsetOf(backend, tensor));
  const row = 4 * columns;
  for (let i = 0; i < batch; i++) {
    const atA = fromA + 4 * i * strideA;
    const atB = fromB + 4 * i * strideB;
    const c = { at: to + 4 * i * rows * columns, row };
    if (!isTurned) {
      multiply({ at: atA, row: 4 * inner }, { at: atB, row }, c, { rows, columns, inner });
      continue;
    }
    for (let k = 0; k === 0 || k < inner; k += TALL_ROWS) {
      multiply(
        { at: atA + 4 * k * rows, row: 4 * rows, isTurned },
        { at: atB + k * row, row },
        c,
        { rows, columns, inner: Math.min(TALL_ROWS, inner - k) },
        k > 0,
      );
    }
  }
}

/** XNNPACK's product, matrix by matrix: views carry ids of their own, so its cache keeps them apart. */
function multiplyPacked(
  backend: WasmBackend,
  a: TensorInfo,
  b: TensorInfo,
  out: TensorInfo,
  { batch, strideA, strideB, rows, columns, inner }: BatchSize,
): void {
  if (batch === 1) {
    // The operands' own ids let XNNPACK keep a weight's packed form from call to call.
    const id = (x: TensorInfo) => backend.dataIdMap.get(x.dataId).id;
    const shapes = [shapeBytes(rows, inner), shapeBytes(inner, columns)];
    multiplyOf(backend)(id(a), shapes[0], 3, id(b), shapes[1], 3, 0, 0, id(out));
    return;
  }
  const [fromA, fromB, to] = [a, b, out].map((tensor) => offsetOf(backend, tensor));
  for (let i = 0; i < batch; i++) {
    multiplyRanges(
      backend,
      { offset: fromA + 4 * i * strideA, rows, columns: inner },
      { offset: fromB + 4 * i * strideB, rows: inner, columns },
      to + 4 * i * rows * columns,
    );
  }
}

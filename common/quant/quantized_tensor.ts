/**
 * Tensors in 8 or 4 bits behind one set of functions.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import { createInt4Tensor, dequantize4, type Int4Tensor, quantizeMatrix4 } from "./int4_tensor.ts";
import { createInt8Tensor, dequantize, type Int8Tensor, quantizeMatrix } from "./int8_tensor.ts";
import type { MatrixLayout } from "./matrix_layout.ts";

/** Bits of a quantised weight. */
export type Bits = 8 | 4;

/** A tensor in few bits. */
export type QuantizedTensor = Int8Tensor | Int4Tensor;

/** A model in few bits. */
export interface QuantizedWeights {
  /** Its matrices by path, all in the same number of bits. */
  readonly matrices: ReadonlyMap<string, QuantizedTensor>;
  /** The rest by path: norms, biases, position and patch embeddings, adapters. */
  readonly floats: ReadonlyMap<string, HostTensor>;
}

/**
 * Make room for a quantised tensor.
 *
 * @param bits Of an integer.
 * @param name Path with openpi's names.
 * @param shape Shape in the checkpoint.
 * @param layout How it is seen as matrices.
 * @returns A tensor of zeros.
 */
export function createQuantizedTensor(
  bits: Bits,
  name: string,
  shape: readonly number[],
  layout: MatrixLayout,
): QuantizedTensor {
  return bits === 8 ? createInt8Tensor(name, shape, layout) : createInt4Tensor(name, shape, layout);
}

/**
 * Quantise one matrix into its place, which must still be zeros.
 *
 * @param source Float32 numbers.
 * @param start Where the matrix `[C, I]` begins in them.
 * @param matrix Which matrix it is, 0…O−1.
 * @param out Where it goes.
 * @throws {RangeError} When a number is not finite, or so large that its scale is not.
 */
export function quantizeInto(
  source: Float32Array,
  start: number,
  matrix: number,
  out: QuantizedTensor,
): void {
  if (out.bits === 8) quantizeMatrix(source, start, matrix, out);
  else quantizeMatrix4(source, start, matrix, out);
}

/**
 * Quantise a whole tensor.
 *
 * @param tensor Float32 numbers.
 * @param layout How it is seen as matrices.
 * @param bits Of an integer.
 * @throws {RangeError} When a number is not finite, or so large that its scale is not.
 */
export function quantizeTensor(
  { name, shape, data }: HostTensor,
  layout: MatrixLayout,
  bits: Bits,
): QuantizedTensor {
  const out = createQuantizedTensor(bits, name, shape, layout);
  const size = layout.contraction * layout.inner;
  for (let matrix = 0; matrix < layout.outer; matrix++) {
    quantizeInto(data, matrix * size, matrix, out);
  }
  return out;
}

/**
 * Turn a quantised tensor back into float32.
 *
 * @param tensor The tensor.
 * @returns It in the checkpoint's shape; each number within half a scale of what it was.
 */
export function dequantizeTensor(tensor: QuantizedTensor): HostTensor {
  return tensor.bits === 8 ? dequantize(tensor) : dequantize4(tensor);
}

/**
 * Bytes of a quantised tensor, scales included.
 *
 * @param tensor The tensor.
 */
export function quantizedBytes({ values, scales }: QuantizedTensor): number {
  return values.byteLength + scales.byteLength;
}

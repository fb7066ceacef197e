/**
 * What the kernels over quantised weights are called and given, the same on every backend.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import type { Bits } from "../quant/quantized_tensor.ts";

/** x `[M, K]` by rows of W: `[M, rowCount]`. */
export const MATMUL = "QuantizedMatMul";
/** x `[M, rowCount]` by the same rows the other way: `[M, K]`, the gradient of {@link MATMUL}. */
export const MATMUL_TRANSPOSED = "QuantizedMatMulTransposed";
/** Rows of W by their numbers: `[M, K]`. */
export const GATHER = "QuantizedGather";

/** Attributes of every kernel. */
export interface QuantizedAttrs {
  /** Bits of an integer. */
  readonly bits: Bits;
  /** K. */
  readonly columns: number;
  /** First row of W that takes part. */
  readonly firstRow: number;
  /** How many do. */
  readonly rowCount: number;
}

/** Arguments of {@link MATMUL} and {@link MATMUL_TRANSPOSED} on a backend. */
export interface MatMulArgs<B> {
  /** The input, and the packed weights. */
  readonly inputs: {
    /** `[M, K]` or `[M, rowCount]`, float32. */
    readonly x: TensorInfo;
    /** `[N, bits · G]` int32. */
    readonly words: TensorInfo;
    /** `[N, ⌈G / 2⌉]` int32. */
    readonly scales: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: QuantizedAttrs;
  /** Where it runs. */
  readonly backend: B;
}

/** Arguments of {@link GATHER} on a backend. */
export interface GatherArgs<B> {
  /** The rows wanted, and the packed weights. */
  readonly inputs: {
    /** `[M]` int32. */
    readonly ids: TensorInfo;
    /** `[N, bits · G]` int32. */
    readonly words: TensorInfo;
    /** `[N, ⌈G / 2⌉]` int32. */
    readonly scales: TensorInfo;
  };
  /** Attributes. */
  readonly attrs: QuantizedAttrs;
  /** Where it runs. */
  readonly backend: B;
}

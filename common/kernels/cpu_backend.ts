/**
 * The parts of tfjs's cpu backend that kernels of our own touch.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";

/** What the cpu backend offers to kernels. */
export interface CpuBackend {
  /** Values of each tensor. */
  readonly data: {
    /** Values by their id. */
    get(dataId: object): {
      /** Row-major. */
      readonly values: Float32Array | Int32Array;
    };
  };
  /** Make a tensor of values. */
  makeTensorInfo(
    shape: readonly number[],
    dtype: string,
    values: Float32Array | Int32Array,
  ): TensorInfo;
}

/** Values of a tensor, row-major. */
export function valuesOf(backend: CpuBackend, x: TensorInfo): Float32Array | Int32Array {
  return backend.data.get(x.dataId).values;
}

/**
 * A product with a weight as one operation with gradients, for every tfjs backend: x of any rank is
 * multiplied as the tall matrix that it is. Made of tfjs's own operations it takes two more, which
 * give x and the product other shapes; for one token of a small policy they are a tenth of the time.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor, Tensor2D, TensorInfo } from "../policy/tensors.ts";
import { type KernelArgs, kernelRegistrar, runKernel } from "./register_kernels.ts";

/** x `[…, K]` and w `[K, N]`: `[…, N]`. */
const LINEAR = "Linear";
/** dy `[…, N]` and w: gradient of x, `[…, K]`. */
const LINEAR_GRADIENT = "LinearGradient";
/** x and dy: gradient of w, `[K, N]`. */
const LINEAR_WEIGHT_GRADIENT = "LinearWeightGradient";

/**
 * x · w. Differentiable with respect to both.
 *
 * @param x `[…, K]` float32.
 * @param w `[K, N]` float32.
 * @returns `[…, N]`.
 * @throws {RangeError} When the inner axes differ.
 */
export function multiplyByWeight(x: Tensor, w: Tensor2D): Tensor {
  if (w.shape.length !== 2 || x.shape[x.shape.length - 1] !== w.shape[0]) {
    throw new RangeError(
      `Cannot multiply [${x.shape}] by a weight of [${w.shape}]: the last axis of the input must be ` +
        "the first of the weight's two",
    );
  }
  ensureKernels();
  return runKernel(LINEAR, { x, w });
}

type Backend = tf.KernelBackend;

/** The same numbers under another shape. */
function shaped({ dataId, dtype }: TensorInfo, shape: readonly number[]): TensorInfo {
  return { dataId, dtype, shape: [...shape] };
}

/** The backend's own product of two matrices. */
function product(
  backend: Backend,
  a: TensorInfo,
  b: TensorInfo,
  { transposeA = false, transposeB = false } = {},
): TensorInfo {
  // A batch of one: not every backend's kernel takes plain matrices.
  const one = (x: TensorInfo): TensorInfo => {
    const width = x.shape[x.shape.length - 1];
    return shaped(x, [1, x.shape.slice(0, -1).reduce((n, axis) => n * axis, 1), width]);
  };
  return tf.getKernel("BatchMatMul", tf.getBackend()).kernelFunc({
    inputs: { a: one(a), b: one(b) },
    attrs: { transposeA, transposeB },
    backend,
  }) as TensorInfo;
}

function linear({ inputs: { x, w }, backend }: KernelArgs<"x" | "w", object, Backend>) {
  return shaped(product(backend, x, w), [...x.shape.slice(0, -1), w.shape[1]]);
}

function gradient({ inputs: { dy, w }, backend }: KernelArgs<"dy" | "w", object, Backend>) {
  const dx = product(backend, dy, w, { transposeB: true });
  return shaped(dx, [...dy.shape.slice(0, -1), w.shape[0]]);
}

function weightGradient({ inputs: { x, dy }, backend }: KernelArgs<"x" | "dy", object, Backend>) {
  const [from, to] = [x, dy].map(({ shape }) => shape[shape.length - 1]);
  return shaped(product(backend, x, dy, { transposeA: true }), [from, to]);
}

const KERNELS = {
  [LINEAR]: linear,
  [LINEAR_GRADIENT]: gradient,
  [LINEAR_WEIGHT_GRADIENT]: weightGradient,
};

const ensureKernels = kernelRegistrar({
  cpu: KERNELS,
  wasm: KERNELS,
  webgpu: KERNELS,
  gradients: {
    [LINEAR]: {
      inputs: ["x", "w"],
      of: (dy, [x, w]) => ({
        x: () => runKernel(LINEAR_GRADIENT, { dy, w }),
        w: () => runKernel(LINEAR_WEIGHT_GRADIENT, { x, dy }),
      }),
    },
  },
});

/**
 * tfjs's tensors under names of our own, so that documentation of what takes and returns them stands
 * on its own.
 * @module
 */

import type * as tf from "@tensorflow/tfjs";

/** A tensor of any rank. */
export interface Tensor extends tf.Tensor {}
/** A single number. */
export interface Scalar extends tf.Scalar {}
/** A tensor of rank 1. */
export interface Tensor1D extends tf.Tensor1D {}
/** A tensor of rank 2. */
export interface Tensor2D extends tf.Tensor2D {}
/** A tensor of rank 3. */
export interface Tensor3D extends tf.Tensor3D {}
/** A tensor of rank 4. */
export interface Tensor4D extends tf.Tensor4D {}
/** A tensor that can be assigned to, and trained. */
export interface Variable extends tf.Variable {}
/** What a kernel knows of a tensor: where its values are, shape and number format. */
export interface TensorInfo extends tf.TensorInfo {}
/** Tensors by name. */
export interface NamedTensorMap {
  /** A tensor. */
  [name: string]: Tensor;
}

/**
 * Gradients with their global norm clipped.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Scalar, Variable } from "../../common/policy/tensors.ts";

/** Outcome of {@link clippedGradients}. The caller disposes of the gradients. */
export interface ClippedGradients {
  /** The loss. */
  readonly loss: number;
  /** Norm of all gradients together, before clipping. */
  readonly norm: number;
  /** Gradients by variable name, scaled so that their norm is at most the bound. */
  readonly gradients: NamedTensorMap;
}

/**
 * Differentiate a loss and clip the gradients' global norm.
 * @param loss Computes the loss; its tensors are freed.
 * @param variables What to differentiate by.
 * @param maxNorm Bound of the global norm, above 0.
 */
export async function clippedGradients(
  loss: () => Scalar,
  variables: Variable[],
  maxNorm: number,
): Promise<ClippedGradients> {
  const { value, grads } = tf.variableGrads(() => tf.tidy(loss), variables);
  const squares = tf.tidy(() =>
    tf.stack([
      value.asScalar(),
      tf.addN(Object.values(grads).map((g) => tf.sum(tf.square(g)))).asScalar(),
    ])
  );
  const [lossValue, squaredNorm] = await squares.data();
  tf.dispose([value, squares]);
  const norm = Math.sqrt(squaredNorm);
  if (!(norm > maxNorm)) return { loss: lossValue, norm, gradients: grads };
  const gradients = tf.tidy(() =>
    Object.fromEntries(Object.entries(grads).map(([k, g]) => [k, tf.mul(g, maxNorm / norm)]))
  );
  tf.dispose(grads);
  return { loss: lossValue, norm, gradients };
}

/**
 * Gradients with their global norm clipped, of a batch at once or of its micro-batches one by one.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Scalar, Tensor, Variable } from "../../common/policy/tensors.ts";

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
  return await clip(value, grads, maxNorm);
}

/** A part of a batch that is differentiated on its own. */
export interface MicroBatch {
  /** Computes its loss; its tensors are freed. */
  readonly loss: () => Scalar;
  /**
   * What its gradient is multiplied by. For a loss that is a mean over the part: the part's share of
   * the batch's chunks or tokens. For one that divides by the counts of the whole batch already: 1.
   */
  readonly share: number;
}

/**
 * Differentiate a batch in parts, so that only one part's activations are held at a time: Σ share ·
 * gradient, clipped once at the end. It is the gradient of the whole batch but for rounding.
 * @param microBatches At least one; run one after another, in order.
 * @param variables What to differentiate by.
 * @param maxNorm Bound of the global norm, above 0.
 * @throws RangeError if there is no part.
 */
export async function accumulatedGradients(
  microBatches: readonly MicroBatch[],
  variables: Variable[],
  maxNorm: number,
): Promise<ClippedGradients> {
  if (microBatches.length === 0) {
    throw new RangeError("Cannot accumulate gradients: there is no micro-batch");
  }
  const sums = new Map<string, Tensor>();
  for (const { loss, share } of microBatches) {
    const { value, grads } = tf.variableGrads(() => tf.tidy(loss), variables);
    for (const [name, part] of [[LOSS, value as Tensor] as const, ...Object.entries(grads)]) {
      const sum = sums.get(name);
      sums.set(name, addScaled(sum, part, share));
      tf.dispose([part, sum ?? []]);
    }
  }
  const total = sums.get(LOSS) as Tensor;
  sums.delete(LOSS);
  return await clip(total, Object.fromEntries(sums), maxNorm);
}

/** Where the loss is summed beside the gradients: no variable has an empty name. */
const LOSS = "";

/** sum + share · x. */
function addScaled(sum: Tensor | undefined, x: Tensor, share: number): Tensor {
  return tf.tidy(() => {
    const scaled = tf.mul(x, share);
    return sum ? tf.add(sum, scaled) : scaled;
  });
}

/** Read loss and norm back in one go, and clip. Takes over what it is given. */
async function clip(
  value: Tensor,
  grads: NamedTensorMap,
  maxNorm: number,
): Promise<ClippedGradients> {
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

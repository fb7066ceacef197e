/**
 * Differentiates one batch, at once or in micro-batches, and reads back what is worth watching.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { type ActorCritic, selectRows } from "../../common/policy/actor_critic.ts";
import type { Scalar, Tensor, Variable } from "../../common/policy/tensors.ts";
import { type ImitationExample, imitationLoss } from "../imitation.ts";
import {
  batchLoss,
  type BatchLossOptions,
  countBatch,
  type LossBatch,
  WATCHED,
} from "./batch_loss.ts";
import {
  accumulatedGradients,
  type ClippedGradients,
  clippedGradients,
  type MicroBatch,
} from "./gradients.ts";
import { partsOf } from "./minibatch.ts";

/** What {@link differentiateBatch} works with. */
export interface GradientStepOptions extends Omit<BatchLossOptions, "counts"> {
  /** What to differentiate by. */
  readonly variables: readonly Variable[];
  /** Chunks that are differentiated at once. */
  readonly chunksAtOnce: number;
  /** Bound of the gradients' norm. */
  readonly maxGradNorm: number;
  /** Examples to imitate beside the batch, and the weight of that loss; none if absent. */
  readonly imitation?: { readonly examples: readonly ImitationExample[]; readonly weight: number };
}

/** A batch's gradients, not applied yet. The caller disposes of them. */
export interface GradientStep extends ClippedGradients {
  /** Numbers by {@link WATCHED}, of the whole batch. */
  readonly watched: Readonly<Record<(typeof WATCHED)[number], number>>;
  /** Imitation loss, nats a token; null without imitation. */
  readonly imitationLoss: number | null;
  /** Log-probabilities of each chunk's tokens, `[S_b]` each, before the step. */
  readonly tokenLogProbs: readonly Float32Array[];
}

/**
 * Differentiate a batch. Micro-batches divide by the whole batch's counts, so their gradients add up to
 * its own whatever their masks and lengths are; one part's activations are held at a time.
 */
export async function differentiateBatch(
  policy: ActorCritic,
  batch: LossBatch,
  options: GradientStepOptions,
): Promise<GradientStep> {
  const { variables, chunksAtOnce, maxGradNorm, imitation, ...lossOptions } = options;
  const parts = partsOf([...batch.estimates.keys()], chunksAtOnce);
  const kept: { watched: Tensor; tokenLogProbs: Tensor; rows: readonly number[] }[] = [];
  const imitated: Tensor[] = [];
  const counts = parts.length > 1 ? countBatch(batch) : undefined;
  const losses = parts.map((rows): MicroBatch => ({
    loss: () => {
      const part = parts.length > 1 ? rowsOf(batch, rows) : batch;
      const found = batchLoss(policy, part, { ...lossOptions, counts });
      kept.push({
        watched: tf.keep(found.watched),
        tokenLogProbs: tf.keep(tf.clone(found.tokenLogProbs)),
        rows,
      });
      return found.total;
    },
    share: 1,
  }));
  if (imitation) losses.push(...imitationParts(policy, imitation, chunksAtOnce, imitated));
  try {
    const owned = [...variables];
    const gradients = losses.length === 1
      ? await clippedGradients(losses[0].loss, owned, maxGradNorm)
      : await accumulatedGradients(losses, owned, maxGradNorm);
    const watched = await sumOf(kept.map((part) => part.watched));
    const tokenLogProbs = new Array<Float32Array>(batch.estimates.length);
    for (const part of kept) {
      const values = await part.tokenLogProbs.data<"float32">();
      const steps = part.tokenLogProbs.shape[1] as number;
      part.rows.forEach((row, i) => {
        const { length } = batch.prepared.tokens[row];
        tokenLogProbs[row] = values.slice(i * steps, i * steps + length);
      });
    }
    return {
      ...gradients,
      watched: Object.fromEntries(WATCHED.map((name, i) => [name, watched[i]])) as Record<
        (typeof WATCHED)[number],
        number
      >,
      imitationLoss: imitation ? (await sumOf(imitated))[0] : null,
      tokenLogProbs,
    };
  } finally {
    tf.dispose([...kept.flatMap((part) => [part.watched, part.tokenLogProbs]), ...imitated]);
  }
}

/** Some chunks of a batch. */
function rowsOf({ prepared, estimates, proximal }: LossBatch, rows: readonly number[]): LossBatch {
  return {
    prepared: selectRows(prepared, rows),
    estimates: rows.map((row) => estimates[row]),
    proximal: proximal && rows.map((row) => proximal[row]),
  };
}

/** The imitation loss of examples, in parts whose shares add up to its weight. */
function imitationParts(
  policy: ActorCritic,
  { examples, weight }: NonNullable<GradientStepOptions["imitation"]>,
  size: number,
  told: Tensor[],
): MicroBatch[] {
  return partsOf(examples, size).map((part) => ({
    loss: () => {
      const loss = imitationLoss(policy, part);
      told.push(tf.keep(tf.reshape(tf.mul(loss, part.length / examples.length), [1])));
      return loss as Scalar;
    },
    share: weight * part.length / examples.length,
  }));
}

/** Element by element, in double precision. */
async function sumOf(tensors: readonly Tensor[]): Promise<number[]> {
  const all = await Promise.all(tensors.map((tensor) => tensor.data<"float32">()));
  return Array.from(all[0] ?? [], (_, i) => all.reduce((sum, values) => sum + values[i], 0));
}

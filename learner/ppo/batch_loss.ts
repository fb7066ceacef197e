/**
 * The loss of one batch, or of one micro-batch of it, as tensors.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { ActorCritic, PreparedChunks } from "../../common/policy/actor_critic.ts";
import type { Scalar, Tensor1D, Tensor2D } from "../../common/policy/tensors.ts";
import type { Estimate } from "./gae.ts";
import { klToReference } from "./kl.ts";
import { type BatchCounts, type LossOptions, ppoLosses } from "./loss.ts";
import { isPolicyDriven } from "./value_after.ts";
import type { Scale } from "./value_normalizer.ts";

/** Chunks of a batch. */
export interface LossBatch {
  /** What the policy reads. */
  readonly prepared: PreparedChunks;
  /** The same chunks with advantages and targets. */
  readonly estimates: readonly Estimate[];
  /** Each chunk's log-probabilities a token under the proximal policy; absent in plain PPO. */
  readonly proximal?: readonly Float32Array[];
}

/** How the loss is made. */
export interface BatchLossOptions {
  /** Weights and ranges. */
  readonly losses: LossOptions;
  /** Temperature that the chunks were sampled with. */
  readonly temperature: number;
  /** Mean and deviation that the critic's answers are normalised by. */
  readonly scale: Scale;
  /** The frozen imitation policy and the KL's weight; none if absent. */
  readonly anchor?: { readonly policy: ActorCritic; readonly weight: number };
  /** Those of the whole batch, if this is a micro-batch of it. */
  readonly counts?: BatchCounts;
}

/** Names of the numbers in {@link BatchLoss.watched}, in order. */
export const WATCHED = [
  "policyLoss",
  "valueLoss",
  "entropy",
  "approxKl",
  "clipFraction",
  "klToImitation",
] as const;

/** The loss of a batch. */
export interface BatchLoss {
  /** What is minimised. */
  readonly total: Scalar;
  /** `[6]`: numbers by {@link WATCHED}. */
  readonly watched: Tensor1D;
  /** `[B, S]`: log-probabilities of the tokens. */
  readonly tokenLogProbs: Tensor2D;
}

/** Numbers that a batch's micro-batches divide their sums by. */
export function countBatch({ prepared, estimates }: LossBatch): BatchCounts {
  const driven = estimates.flatMap(({ transition }, i) => isPolicyDriven(transition) ? [i] : []);
  return {
    chunks: estimates.length,
    policyChunks: driven.length,
    policyTokens: driven.reduce((sum, i) => sum + prepared.tokens[i].length, 0),
  };
}

/**
 * Compute a batch's loss. A person's chunks only count in the critic's part. Call inside `tf.tidy` or a
 * gradient function.
 */
export function batchLoss(
  policy: ActorCritic,
  { prepared, estimates, proximal }: LossBatch,
  { losses, temperature, scale, anchor, counts }: BatchLossOptions,
): BatchLoss {
  const column = (pick: (e: Estimate, i: number) => number) => tf.tensor1d(estimates.map(pick));
  const inScale = (value: number) => (value - scale.mean) / scale.deviation;
  const evaluation = policy.evaluate(prepared, temperature);
  const steps = evaluation.tokenLogProbs.shape[1];
  const areDriven = estimates.map(({ transition }) => isPolicyDriven(transition));
  const isMixed = areDriven.includes(false);
  const drivenColumn = isMixed ? tf.tensor1d(areDriven.map(Number)) : undefined;
  const found = ppoLosses({
    logProb: evaluation.logProb,
    entropy: evaluation.entropy,
    value: evaluation.value,
    oldLogProb: column((e) => e.transition.logProb),
    oldValue: column((e) => inScale(e.transition.value)),
    advantage: column((e) => e.advantage),
    valueTarget: column((e) => inScale(e.valueTarget)),
    proximalLogProb: proximal && column((_, i) => proximal[i].reduce((sum, x) => sum + x, 0)),
    isPolicyDriven: drivenColumn,
    tokens: losses.ratio !== "token" ? undefined : {
      logProb: evaluation.tokenLogProbs,
      oldLogProb: padded(estimates.map((e) => e.transition.tokenLogProbs), steps),
      proximalLogProb: proximal && padded(proximal, steps),
      isToken: evaluation.isToken,
    },
    counts,
  }, losses);
  const isCounted = drivenColumn
    ? tf.mul(evaluation.isToken, tf.expandDims(drivenColumn, 1)) as Tensor2D
    : evaluation.isToken;
  const kl = anchor
    ? klToReference(
      evaluation.logProbs,
      anchor.policy.evaluate(prepared, temperature).logProbs,
      isCounted,
      // Not 0 where a person drove all of the batch: there is nothing to divide then.
      counts ? Math.max(1, counts.policyTokens) : areDriven.includes(true) ? undefined : 1,
    )
    : tf.scalar(0);
  const { policy: surrogate, value, entropy, approxKl, clipFraction } = found;
  return {
    total: anchor ? tf.add(found.total, tf.mul(kl, anchor.weight)) as Scalar : found.total,
    watched: tf.stack([surrogate, value, entropy, approxKl, clipFraction, kl]) as Tensor1D,
    tokenLogProbs: evaluation.tokenLogProbs,
  };
}

/** Rows of several lengths as one tensor `[B, S]`, 0 behind the shorter ones. */
function padded(rows: readonly Float32Array[], steps: number): Tensor2D {
  const data = new Float32Array(rows.length * steps);
  rows.forEach((row, i) => data.set(row, i * steps));
  return tf.tensor2d(data, [rows.length, steps]);
}

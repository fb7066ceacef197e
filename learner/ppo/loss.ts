/**
 * PPO's losses over chunks (Schulman et al., 2017), put together: policy, value and entropy, with a
 * probability ratio a chunk or a token.
 *
 * A ratio a token clips each token on its own; all share their chunk's advantage, and the mean is over
 * the tokens of the batch (Yu et al., "DAPO", 2025), not first over those of a chunk. Its gradient at
 * ratio 1 is then that of the chunk ratio divided by the mean number of tokens; a mean within each
 * chunk would weigh a token less the longer its chunk is (Liu et al., "Understanding R1-Zero-Like
 * Training", 2025).
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { RatioLevel } from "../../common/config/ppo_config.ts";
import type { Scalar, Tensor, Tensor1D, Tensor2D } from "../../common/policy/tensors.ts";
import { maskedMean, type MeanOver } from "./masked_mean.ts";
import { policyLoss, type PolicyTerms, type SurrogateOptions } from "./policy_loss.ts";
import { valueLoss, type ValueLossOptions } from "./value_loss.ts";

export type { RatioLevel } from "../../common/config/ppo_config.ts";
export { klToReference } from "./kl.ts";
export { explainedVariance } from "./value_loss.ts";

/** Log-probabilities of a batch's tokens, `[B, S]` each, 0 where a row has no token. */
export interface TokenColumns {
  /** Under the policy being trained. */
  readonly logProb: Tensor2D;
  /** When the token was sampled. */
  readonly oldLogProb: Tensor2D;
  /** Under the learner's weights before the update; see {@link LossInput.proximalLogProb}. */
  readonly proximalLogProb?: Tensor2D;
  /** 1 where a row has a token. */
  readonly isToken: Tensor2D;
}

/** Numbers to divide by in a micro-batch: those of the whole batch. */
export interface BatchCounts {
  /** Chunks. */
  readonly chunks: number;
  /** Chunks that the policy drove. */
  readonly policyChunks: number;
  /** Tokens of the chunks that the policy drove. */
  readonly policyTokens: number;
}

/** Data of a batch, `[B]` each. */
export interface LossInput {
  /** Log-probability of each chunk under the policy being trained. */
  readonly logProb: Tensor1D;
  /** Mean entropy a token. */
  readonly entropy: Tensor1D;
  /** The critic's value. */
  readonly value: Tensor1D;
  /** Log-probability of each chunk when it was sampled. */
  readonly oldLogProb: Tensor1D;
  /** The critic's value when it was sampled. */
  readonly oldValue: Tensor1D;
  /** Advantages. */
  readonly advantage: Tensor1D;
  /** Targets of the critic. */
  readonly valueTarget: Tensor1D;
  /**
   * Log-probability of each chunk under the learner's weights before the update. If given, ratios are
   * to it, and a capped weight corrects for the policy that sampled (decoupled PPO).
   */
  readonly proximalLogProb?: Tensor1D;
  /** 1 where the policy drove, 0 where a person did; the policy everywhere if absent. */
  readonly isPolicyDriven?: Tensor1D;
  /** Needed for a ratio a token. */
  readonly tokens?: TokenColumns;
  /** Given for a micro-batch: the losses of a batch's micro-batches then add up to the batch's. */
  readonly counts?: BatchCounts;
}

/** Weights and ranges of the losses. */
export interface LossOptions extends SurrogateOptions, ValueLossOptions {
  /** ε: the ratio is clipped to [1 − ε, 1 + ε], or to `clipRangeHigh` above 1. */
  readonly clipRange: number;
  /** Largest change of a value; 0 is off. */
  readonly valueClipRange: number;
  /** Weight of the value loss. */
  readonly valueLossWeight: number;
  /** Weight of the entropy bonus. */
  readonly entropyWeight: number;
  /** Weight of the policy loss; 1 if absent, 0 while only the critic warms up. */
  readonly policyLossWeight?: number;
  /** What has a ratio of its own; a chunk if absent. */
  readonly ratio?: RatioLevel;
  /** Cap of a chunk's weight for stale data, at least 1; none if absent. */
  readonly chunkWeightCap?: number;
  /** Cap of a token's weight for stale data, at least 1; none if absent. */
  readonly tokenWeightCap?: number;
}

/** Losses and what is worth watching; scalars. */
export interface Losses {
  /** What is minimised. */
  readonly total: Scalar;
  /** −mean w · min(ratio · A, clip(ratio) · A). */
  readonly policy: Scalar;
  /** Mean error of the values. */
  readonly value: Scalar;
  /** Mean entropy a token, nats. */
  readonly entropy: Scalar;
  /** Mean of (ratio − 1) − log ratio: Schulman's k3 estimate of KL(old ‖ new), nats a ratio. */
  readonly approxKl: Scalar;
  /** Fraction of ratios outside the clip range. */
  readonly clipFraction: Scalar;
}

/**
 * Compute all losses of a batch. Call inside `tf.tidy` or a gradient function.
 * @throws RangeError if a ratio a token is wanted and tokens are missing, or an option is out of range.
 */
export function ppoLosses(input: LossInput, options: LossOptions): Losses {
  const { valueLossWeight, entropyWeight, policyLossWeight = 1, ratio = "chunk" } = options;
  const { counts, isPolicyDriven } = input;
  const overChunks: MeanOver = { mask: isPolicyDriven, count: counts?.policyChunks };
  const terms = ratio === "chunk"
    ? toTerms(input, input.advantage, overChunks, options.chunkWeightCap)
    : tokenTerms(input, options.tokenWeightCap);
  const { loss: policy, approxKl, clipFraction } = policyLoss(terms, options);
  const value = valueLoss({ ...input, over: { count: counts?.chunks } }, options);
  const entropy = maskedMean(input.entropy, overChunks);
  const weighted = policyLossWeight === 1 ? policy : tf.mul(policy, policyLossWeight);
  const total = tf.sub(
    tf.add(weighted, tf.mul(value, valueLossWeight)),
    tf.mul(entropy, entropyWeight),
  ) as Scalar;
  return { total, policy, value, entropy, approxKl, clipFraction };
}

/** Log-probabilities under up to three policies, of chunks or of tokens. */
interface RatioColumns {
  readonly logProb: Tensor;
  readonly oldLogProb: Tensor;
  readonly proximalLogProb?: Tensor;
}

/** Terms with the ratio to the proximal policy if there is one, else to the one that sampled. */
function toTerms(
  { logProb, oldLogProb, proximalLogProb }: RatioColumns,
  advantage: Tensor,
  over: MeanOver,
  cap = Infinity,
): PolicyTerms {
  if (!proximalLogProb) return { logProb, oldLogProb, advantage, over };
  const stale = { behaviourLogProb: oldLogProb, cap };
  return { logProb, oldLogProb: proximalLogProb, advantage, stale, over };
}

/** A term a token: all of a chunk share its advantage. */
function tokenTerms(input: LossInput, cap: number | undefined): PolicyTerms {
  const { tokens, counts, isPolicyDriven } = input;
  if (!tokens) {
    throw new RangeError(
      "Cannot compute losses with a ratio a token: log-probabilities of the tokens are missing",
    );
  }
  const { isToken } = tokens;
  const mask = isPolicyDriven ? tf.mul(isToken, tf.expandDims(isPolicyDriven, 1)) : isToken;
  const over: MeanOver = { mask, count: counts?.policyTokens };
  return toTerms(tokens, tf.expandDims(input.advantage, 1), over, cap);
}

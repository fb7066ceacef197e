/**
 * The schema's fields of proximal policy optimisation.
 *
 * @module
 */

import { z } from "zod";
import { field } from "./field.ts";
import {
  DECAYS,
  DISCOUNTINGS,
  type PpoConfig,
  RATIO_LEVELS,
  TRAIN_SCOPES,
  VALUE_LOSSES,
} from "./ppo_config.ts";

/** A zod type for each field of {@link PpoConfig}. */
export const PPO_SHAPE: { readonly [K in keyof PpoConfig]: z.ZodType<PpoConfig[K]> } = {
  totalSteps: field(z.int().min(1), "control steps", "Robot control steps of the whole run."),
  updates: field(
    z.int().min(0),
    "updates",
    "Policy updates of the whole run; 0 leaves the end to --total-steps.",
  ),
  chunksPerUpdate: field(z.int().min(1).max(65536), "chunks", "Chunks collected for one update."),
  epochs: field(z.int().min(1).max(100), "passes", "Passes over the chunks of an update."),
  batchSize: field(z.int().min(1).max(65536), "chunks", "Chunks of one gradient step."),
  learningRate: field(
    z.number().gt(0).max(1),
    "",
    "Step size of the Adam optimiser for the backbone.",
  ),
  valueLearningRate: field(
    z.number().gt(0).max(1),
    "",
    "Step size of the Adam optimiser for the value head.",
  ),
  finalLearningRateFraction: field(
    z.number().min(0).max(1),
    "",
    "What is left of both step sizes at the end of the run; 1 is no decay.",
  ),
  warmUpUpdates: field(
    z.int().min(0).max(1_000_000),
    "updates",
    "Updates over which both step sizes rise to their full size; 0 is none.",
  ),
  learningRateSchedule: field(
    z.enum(DECAYS),
    "",
    "How both step sizes fall after that, down to --final-learning-rate-fraction.",
  ),
  weightDecay: field(
    z.number().min(0).max(1),
    "",
    "Weight decay of AdamW, for matrices: a step shrinks them by its size times this; 0 is off.",
  ),
  microBatchSize: field(
    z.int().min(0).max(65536),
    "chunks",
    "Chunks of a batch that are differentiated at once: gradients of such micro-batches are added " +
      "up, so that a large model fits into memory; 0 is the whole batch.",
  ),
  trainScope: field(
    z.enum(TRAIN_SCOPES),
    "",
    "Which weights are trained: full is all, lora the adapters and value_head the value head alone, " +
      "which is always trained; auto is lora where the variant has adapters, and full where not.",
  ),
  ratioLevel: field(
    z.enum(RATIO_LEVELS),
    "",
    "What has a probability ratio and a clip of its own: a chunk, or each of its tokens.",
  ),
  clipRange: field(
    z.number().gt(0).lt(1),
    "",
    "Change of a probability ratio at which PPO clips, as a fraction.",
  ),
  clipRangeHigh: field(
    z.number().min(0).max(100),
    "",
    "The same for ratios above 1; 0 is as for those below, which is --clip-range.",
  ),
  dualClip: field(
    z.number().min(0).max(1000),
    "",
    "Ratio, above 1, beyond which a chunk with a negative advantage costs no more; 0 is off.",
  ),
  decoupled: field(
    z.boolean(),
    "",
    "Clip around the learner's own weights before the update, and weigh data of older or quantized " +
      "policies by importance.",
  ),
  tokenWeightCap: field(
    z.number().min(1).max(1e6),
    "",
    "Largest such weight of a token, with --ratio-level token.",
  ),
  chunkWeightCap: field(
    z.number().min(1).max(1e6),
    "",
    "Largest such weight of a chunk, with --ratio-level chunk.",
  ),
  discounting: field(
    z.enum(DISCOUNTINGS),
    "",
    "What --gamma is the discount of: a control step, so that a chunk of h steps discounts by gamma " +
      "to the power of h, or a chunk however long it is.",
  ),
  gamma: field(
    z.number().min(0).max(1),
    "per control step or chunk",
    "Discount of future reward; see --discounting.",
  ),
  gaeLambda: field(
    z.number().min(0).max(1),
    "per chunk",
    "Lambda of generalised advantage estimation: 0 trusts the critic, 1 the returns.",
  ),
  valueLossWeight: field(z.number().min(0).max(100), "", "Weight of the value loss."),
  valueLoss: field(
    z.enum(VALUE_LOSSES),
    "",
    "Shape of the critic's error: squared, or Huber's, which is linear beyond --huber-delta.",
  ),
  huberDelta: field(
    z.number().gt(0).max(1e6),
    "reward or deviations",
    "Error beyond which Huber's loss is linear; in deviations of the returns where the critic " +
      "learns them normalised.",
  ),
  valueNormalization: field(
    z.boolean(),
    "",
    "Let the critic learn returns that are shifted and scaled to mean 0 and deviation 1.",
  ),
  criticWarmUpUpdates: field(
    z.int().min(0).max(1_000_000),
    "updates",
    "Updates at the run's beginning that train the critic alone.",
  ),
  valueClipRange: field(
    z.number().min(0),
    "reward",
    "Largest change of a value in one update; 0 is off.",
  ),
  entropyWeight: field(
    z.number().min(0).max(10),
    "",
    "Weight of the bonus for entropy; 0 is off.",
  ),
  maxGradNorm: field(z.number().gt(0), "", "Norm that the gradient of all weights is clipped to."),
  adamBeta1: field(z.number().min(0).lt(1), "", "Decay of Adam's mean of gradients."),
  adamBeta2: field(z.number().min(0).lt(1), "", "Decay of Adam's mean of squared gradients."),
  adamEpsilon: field(z.number().gt(0).max(1), "", "Offset of Adam's denominator."),
  targetKl: field(
    z.number().min(0),
    "nats",
    "Approximate KL at which an update stops early, a chunk or a token as --ratio-level says; 0 is " +
      "off.",
  ),
  klWeight: field(
    z.number().min(0),
    "",
    "Weight of the KL to the imitation policy that the run began with; 0 is off.",
  ),
  imitationKlTarget: field(
    z.number().min(0).max(100),
    "nats per token",
    "KL to that policy to hold, by making --kl-weight larger or smaller after each update; 0 leaves " +
      "it as it is.",
  ),
  imitationWeight: field(
    z.number().min(0).max(1000),
    "",
    "Weight of the imitation loss beside PPO's, on --demonstrations and on chunks that a person " +
      "drove; 0 is off.",
  ),
  demonstrations: field(
    z.string(),
    "path",
    "File of demonstrations for --imitation-weight, as pretrain writes it; empty for none.",
  ),
  environmentRewardWeight: field(
    z.number().min(0).max(1e6),
    "",
    "What the environment's rewards are multiplied by.",
  ),
  humanRewardWeight: field(
    z.number().min(0).max(1e6),
    "",
    "What rewards that a person gave are multiplied by.",
  ),
  intrinsicRewardWeight: field(
    z.number().min(0).max(1e6),
    "",
    "What the reward for observations that are new, by random network distillation, is multiplied " +
      "by; 0 is off.",
  ),
  trainVision: field(z.boolean(), "", "Train the vision encoder too."),
  normalizeAdvantages: field(
    z.boolean(),
    "",
    "Shift and scale the advantages of an update to mean 0 and deviation 1.",
  ),
};

/**
 * What an update is told: the configuration's fields that it reads, and which losses they make.
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import type { LossOptions } from "./loss.ts";
import type { Scale } from "./value_normalizer.ts";

/** Settings of PPO that every caller gives. */
export type NeededPpoOptions = Pick<
  Config,
  | "epochs"
  | "batchSize"
  | "learningRate"
  | "valueLearningRate"
  | "adamBeta1"
  | "adamBeta2"
  | "adamEpsilon"
  | "clipRange"
  | "valueClipRange"
  | "valueLossWeight"
  | "entropyWeight"
  | "maxGradNorm"
  | "targetKl"
  | "klWeight"
  | "trainVision"
  | "normalizeAdvantages"
  | "temperature"
>;

/** Settings that are off, or as in the original paper, where they are absent. */
export type OptionalPpoOptions = Partial<
  Pick<
    Config,
    | "weightDecay"
    | "microBatchSize"
    | "trainScope"
    | "ratioLevel"
    | "clipRangeHigh"
    | "dualClip"
    | "decoupled"
    | "tokenWeightCap"
    | "chunkWeightCap"
    | "valueLoss"
    | "huberDelta"
    | "valueNormalization"
    | "imitationKlTarget"
    | "imitationWeight"
  >
>;

/** Settings of PPO; fields, meanings and ranges are those of the configuration. */
export interface PpoOptions extends NeededPpoOptions, OptionalPpoOptions {}

/** Chunks that are differentiated at once: the micro-batch or, without one, the batch. */
export function chunksAtOnce({ microBatchSize = 0, batchSize }: PpoOptions): number {
  return microBatchSize > 0 ? Math.min(microBatchSize, batchSize) : batchSize;
}

/**
 * The losses' options.
 * @param options The settings.
 * @param policyLossWeight 1, or 0 while only the critic is trained.
 * @param scale Mean and deviation that values were normalised by: a range of values, which is in units
 *   of reward, is then one in deviations.
 */
export function lossOptions(
  options: PpoOptions,
  policyLossWeight: number,
  scale: Scale,
): LossOptions {
  const { clipRangeHigh = 0, ratioLevel, valueClipRange } = options;
  return {
    ...options,
    clipRangeHigh: clipRangeHigh > 0 ? clipRangeHigh : undefined,
    ratio: ratioLevel,
    policyLossWeight,
    valueClipRange: valueClipRange / scale.deviation,
  };
}

/**
 * How large a run's step sizes are, by how far it has come.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import { learningRateScale } from "./ppo/schedule.ts";

/** What of a run's progress decides. */
export interface RunProgress {
  /** Updates done. */
  readonly updates: number;
  /** Control steps trained on. */
  readonly controlSteps: number;
}

/** Settings that decide. */
export type StepSizeOptions = Pick<
  Config,
  | "updates"
  | "totalSteps"
  | "warmUpUpdates"
  | "learningRateSchedule"
  | "finalLearningRateFraction"
>;

/**
 * Fraction of the configured step sizes for the next update. The run's length is its number of updates
 * or, where that is not given, of control steps; the warm-up is counted in updates in both.
 * @returns In (0, 1] during the warm-up, and from 1 to the configured fraction after it.
 */
export function stepSizeScale(config: StepSizeOptions, progress: RunProgress): number {
  const { updates, totalSteps, warmUpUpdates, learningRateSchedule: decay } = config;
  const finalFraction = config.finalLearningRateFraction;
  if (updates > 0) {
    const options = { totalSteps: updates, warmUpSteps: warmUpUpdates, decay, finalFraction };
    return learningRateScale(progress.updates, options);
  }
  if (progress.updates < warmUpUpdates) return (progress.updates + 1) / warmUpUpdates;
  return learningRateScale(progress.controlSteps, { totalSteps, decay, finalFraction });
}

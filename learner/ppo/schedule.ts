/**
 * How step sizes and the policy loss's weight change over a run.
 * @module
 */

import type { Decay } from "../../common/config/ppo_config.ts";

export { type Decay, DECAYS } from "../../common/config/ppo_config.ts";

/** Settings of {@link learningRateScale}; steps are whatever the caller counts: updates, or steps of the robot. */
export interface ScheduleOptions {
  /** Steps of the whole run, above 0. */
  readonly totalSteps: number;
  /** Steps over which step sizes rise linearly to their full size; 0 is none. */
  readonly warmUpSteps?: number;
  /** How they fall from there to the end of the run; linearly if absent. */
  readonly decay?: Decay;
  /** What is left at the end, as a fraction, in [0, 1]; 1 is no decay. */
  readonly finalFraction: number;
}

/**
 * Fraction of the configured step sizes.
 *
 * Warm-up: (step + 1) / warmUpSteps, so that the first step is not lost to a step size of 0. Then, with
 * p from 0 to 1 over the rest: linear 1 − (1 − f)·p; cosine f + (1 − f)·½(1 + cos πp) (Loshchilov and
 * Hutter, "SGDR", 2017, without restarts).
 *
 * @param step Steps done, from 0.
 * @returns In [0, 1]; beyond the end it stays at `finalFraction`.
 * @throws RangeError if a setting is out of range.
 */
export function learningRateScale(step: number, options: ScheduleOptions): number {
  const { totalSteps, warmUpSteps = 0, decay = "linear", finalFraction } = options;
  if (!(totalSteps > 0) || !(warmUpSteps >= 0) || !(finalFraction >= 0 && finalFraction <= 1)) {
    throw new RangeError(
      `Cannot schedule step sizes: total ${totalSteps}, warm-up ${warmUpSteps}, final fraction ` +
        `${finalFraction}; expected above 0, at least 0, and in [0, 1]`,
    );
  }
  if (step < warmUpSteps) return Math.min(1, (step + 1) / warmUpSteps);
  const rest = totalSteps - warmUpSteps;
  const done = rest > 0 ? Math.min(1, (step - warmUpSteps) / rest) : 1;
  switch (decay) {
    case "constant":
      return 1;
    case "linear":
      return 1 - (1 - finalFraction) * done;
    case "cosine":
      return finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * done));
    default:
      return decay satisfies never;
  }
}

/**
 * Weight of the policy loss: 0 while the critic warms up, since advantages of a critic that knows
 * nothing are returns with noise; 1 afterwards.
 * @param update Updates done, from 0.
 * @param warmUpUpdates Updates that train the critic alone; 0 is none.
 */
export function policyLossWeight(update: number, warmUpUpdates: number): number {
  return update < warmUpUpdates ? 0 : 1;
}

/**
 * How many control steps of a chunk are executed before the next one is inferred.
 *
 * Fewer steps let the policy look again sooner, at the price of more inferences a second. The number
 * may stay as it is, move in a line over the run, or fall to a small one where the policy is unsure.
 *
 * @module
 */

import type { CollectionConfig } from "../common/config/config.ts";

/** The settings; names and meanings are those of the configuration. */
export type ExecutionPlan = Pick<
  CollectionConfig,
  "executeSteps" | "executeStepsFinal" | "executeUncertainty" | "executeMinSteps"
>;

/** Every step of every chunk. */
export const WHOLE_CHUNKS: ExecutionPlan = {
  executeSteps: 0,
  executeStepsFinal: 0,
  executeUncertainty: 0,
  executeMinSteps: 1,
};

/**
 * Choose how many steps of a chunk are executed.
 *
 * h = a + progress · (b − a), rounded, with a `executeSteps` (0: H) and b `executeStepsFinal` (0: a).
 * Where `executeUncertainty` is above 0 and the chunk's tokens have a higher mean entropy, h is at most
 * `executeMinSteps`.
 *
 * @param plan The settings.
 * @param now.horizon H.
 * @param now.progress Share of the run that is done, 0–1; the learner tells it with its weights.
 * @param now.entropy Mean entropy of the chunk's tokens, in nats.
 * @param now.least Least number of steps that can be executed; 1 if absent.
 * @returns h, an integer from `least` to H.
 * @throws {RangeError} The horizon is no integer of 1 or more, or the progress not in [0, 1].
 */
export function stepsToExecute(
  plan: ExecutionPlan,
  now: {
    readonly horizon: number;
    readonly progress: number;
    readonly entropy: number;
    readonly least?: number;
  },
): number {
  const { horizon, progress, entropy, least = 1 } = now;
  if (!Number.isInteger(horizon) || horizon < 1 || !(progress >= 0 && progress <= 1)) {
    throw new RangeError(
      `Cannot choose how many of ${horizon} steps are executed at ${progress} of the run: expected ` +
        "an integer of 1 or more, and a share from 0 to 1",
    );
  }
  const first = plan.executeSteps || horizon;
  const last = plan.executeStepsFinal || first;
  const scheduled = Math.round(first + progress * (last - first));
  const isUnsure = plan.executeUncertainty > 0 && entropy > plan.executeUncertainty;
  const wanted = isUnsure ? Math.min(scheduled, plan.executeMinSteps) : scheduled;
  return Math.min(horizon, Math.max(least, wanted));
}

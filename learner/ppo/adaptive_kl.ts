/**
 * Weights of the KL penalty that hold the KL at a target.
 *
 * - `"proportional"`: Ziegler et al., "Fine-Tuning Language Models from Human Preferences", 2019,
 *   section 2.2: e = clip(KL / target − 1, ±0.2), weight ← weight · (1 + K·e).
 * - `"doubling"`: Schulman et al., "Proximal Policy Optimization Algorithms", 2017, section 4: the
 *   weight halves where the KL is below target / 1.5, doubles above target · 1.5.
 *
 * @module
 */

/** How the weight follows the KL. */
export const KL_RULES = ["proportional", "doubling"] as const;

/** One of {@link KL_RULES}. */
export type KlRule = (typeof KL_RULES)[number];

/** Settings of {@link nextKlWeight}. */
export interface AdaptiveKlOptions {
  /** KL to hold, above 0, nats a token. */
  readonly target: number;
  /** How the weight follows; proportional if absent. */
  readonly rule?: KlRule;
  /** K of the proportional rule; 0.1 if absent, as in its paper. */
  readonly gain?: number;
  /** Smallest weight, above 0: from 0 it could never rise; 1e-4 if absent. */
  readonly minWeight?: number;
  /** Largest weight; 100 if absent. */
  readonly maxWeight?: number;
}

/** Largest error that the proportional rule acts on, from its paper. */
const MAX_ERROR = 0.2;
/** The band in which the doubling rule leaves the weight alone, from its paper. */
const BAND = 1.5;

/**
 * The weight for the next update. A pure function: whoever calls it keeps the weight, and writes it to
 * checkpoints.
 * @param weight The weight so far.
 * @param kl The KL that the update measured, nats a token. One that is not finite leaves the weight as
 *   it is: such an update was skipped.
 * @throws RangeError if the target or a bound cannot be.
 */
export function nextKlWeight(weight: number, kl: number, options: AdaptiveKlOptions): number {
  const { target, rule = "proportional", gain = 0.1, minWeight = 1e-4, maxWeight = 100 } = options;
  if (!(target > 0)) {
    throw new RangeError(`Cannot adapt the KL weight: the target is ${target}, expected above 0`);
  }
  if (!(minWeight > 0 && minWeight <= maxWeight)) {
    throw new RangeError(
      `Cannot adapt the KL weight: its bounds are ${minWeight} and ${maxWeight}, expected the first ` +
        `above 0 and at most the second`,
    );
  }
  const bounded = (x: number) => Math.max(minWeight, Math.min(maxWeight, x));
  if (!Number.isFinite(kl)) return bounded(weight);
  switch (rule) {
    case "proportional": {
      const error = Math.max(-MAX_ERROR, Math.min(MAX_ERROR, kl / target - 1));
      return bounded(weight * (1 + gain * error));
    }
    case "doubling":
      if (kl > target * BAND) return bounded(weight * 2);
      if (kl < target / BAND) return bounded(weight / 2);
      return bounded(weight);
    default:
      return rule satisfies never;
  }
}

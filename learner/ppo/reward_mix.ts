/**
 * One reward of several: the environment's, a person's, and an intrinsic one for what is new.
 *
 * @module
 */

/** Where rewards come from. */
export const REWARD_SOURCES = ["environment", "human", "intrinsic"] as const;

/** One of {@link REWARD_SOURCES}. */
export type RewardSource = (typeof REWARD_SOURCES)[number];

/** A number for each source. */
export type BySource = Readonly<Record<RewardSource, number>>;

/** A chunk's rewards by source. */
export interface RewardParts {
  /** The environment's, a step `[h]`. */
  readonly environment: Float32Array;
  /** A person's, a step `[h]`: 0 but at the moments that were judged; none if absent. */
  readonly human?: Float32Array;
  /** Newness of the observation that the chunk began with; 0 if absent. */
  readonly intrinsic?: number;
}

/** A chunk's reward, and what it is made of. */
export interface MixedReward {
  /** Weighted sum of all sources, a step `[h]`. */
  readonly stepRewards: Float32Array;
  /** Sum of `stepRewards`. */
  readonly total: number;
  /** Each source's sum over the chunk, before its weight: what to log. */
  readonly sums: BySource;
}

/**
 * Take apart what a chunk reports: each step's reward, whoever gave it, and what of it a person gave.
 * @param stepRewards `[h]`.
 * @param humanRewards `[h]`, or `[0]` where nobody gave any.
 */
export function splitRewards(
  stepRewards: Float32Array,
  humanRewards: Float32Array,
): Pick<RewardParts, "environment" | "human"> {
  if (humanRewards.length === 0) return { environment: stepRewards };
  return {
    environment: stepRewards.map((reward, i) => reward - humanRewards[i]),
    human: humanRewards,
  };
}

/** The environment alone. */
export const ENVIRONMENT_ONLY: BySource = { environment: 1, human: 0, intrinsic: 0 };

/**
 * Mix a chunk's rewards. The intrinsic one goes to the first step: it is about where the chunk began.
 * @param parts Rewards by source.
 * @param weights What each source is multiplied by, finite.
 * @throws RangeError if lengths differ, or a reward or a weight is not finite.
 */
export function mixRewards(parts: RewardParts, weights: BySource): MixedReward {
  const { environment, human, intrinsic = 0 } = parts;
  const steps = environment.length;
  if (steps === 0 || (human && human.length !== steps)) {
    throw new RangeError(
      `Cannot mix rewards: ${steps} from the environment and ${human?.length ?? "none"} from a ` +
        `person, expected one a step, and at least one step`,
    );
  }
  const sum = (values: Float32Array) => values.reduce((a, r) => a + r, 0);
  const sums = {
    environment: sum(environment),
    human: human ? sum(human) : 0,
    intrinsic,
  };
  for (const source of REWARD_SOURCES) {
    if (!Number.isFinite(sums[source]) || !Number.isFinite(weights[source])) {
      throw new RangeError(
        `Cannot mix rewards: those of source ${source} add up to ${sums[source]}, its weight is ` +
          `${weights[source]}; expected finite numbers`,
      );
    }
  }
  const stepRewards = environment.map((reward, i) =>
    weights.environment * reward + weights.human * (human?.[i] ?? 0)
  );
  stepRewards[0] += weights.intrinsic * intrinsic;
  return { stepRewards, total: sum(stepRewards), sums };
}

/**
 * Mean of each source over an update's chunks, before weights.
 * @returns Zeros if there are no chunks.
 */
export function meanBySource(chunks: readonly { readonly sums: BySource }[]): BySource {
  const mean = (source: RewardSource) =>
    chunks.reduce((a, c) => a + c.sums[source], 0) / Math.max(1, chunks.length);
  return {
    environment: mean("environment"),
    human: mean("human"),
    intrinsic: mean("intrinsic"),
  };
}

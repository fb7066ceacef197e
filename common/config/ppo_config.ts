/**
 * The settings of proximal policy optimisation, and the choices among them. Meanings, units and
 * ranges stand in `ppo_schema.ts`, formulas in `learner/ppo/README.md`.
 *
 * @module
 */

/** What one γ is the discount of: a control step, or a chunk however long it was. */
export const DISCOUNTINGS = ["step", "chunk"] as const;

/** One of {@link DISCOUNTINGS}. */
export type Discounting = (typeof DISCOUNTINGS)[number];

/** What has a probability ratio of its own. */
export const RATIO_LEVELS = ["chunk", "token"] as const;

/** One of {@link RATIO_LEVELS}. */
export type RatioLevel = (typeof RATIO_LEVELS)[number];

/** Shapes of the critic's error. */
export const VALUE_LOSSES = ["squared", "huber"] as const;

/** One of {@link VALUE_LOSSES}. */
export type ValueLossKind = (typeof VALUE_LOSSES)[number];

/** How step sizes fall after the warm-up. */
export const DECAYS = ["constant", "linear", "cosine"] as const;

/** One of {@link DECAYS}. */
export type Decay = (typeof DECAYS)[number];

/**
 * Which weights are trained, besides the critic's: all of them, the adapters of a LoRA variant, or
 * none. `auto` is the adapters where there are any, and all weights where not. Whether the image
 * encoder is among them is a setting of its own.
 */
export const TRAIN_SCOPES = ["auto", "full", "lora", "value_head"] as const;

/** One of {@link TRAIN_SCOPES}. */
export type TrainScope = (typeof TRAIN_SCOPES)[number];

/** Chunk-level proximal policy optimisation. */
export interface PpoConfig {
  /** Robot control steps of the whole run. */
  readonly totalSteps: number;
  /** Policy updates of the whole run; 0 leaves it to `totalSteps`. */
  readonly updates: number;
  /** Chunks collected for one update. */
  readonly chunksPerUpdate: number;
  /** Passes over an update's chunks. */
  readonly epochs: number;
  /** B: chunks of one gradient step. */
  readonly batchSize: number;
  /** Adam's step size. */
  readonly learningRate: number;
  /** What is left of both step sizes at the end of the run. */
  readonly finalLearningRateFraction: number;
  /** Step size of Adam for the value head. */
  readonly valueLearningRate: number;
  /** Updates over which both step sizes rise to their full size; 0 is none. */
  readonly warmUpUpdates: number;
  /** How step sizes fall after that. */
  readonly learningRateSchedule: Decay;
  /** λ of decoupled weight decay, for matrices; 0 is off. */
  readonly weightDecay: number;
  /** Chunks that are differentiated at once; 0 is the whole batch. */
  readonly microBatchSize: number;
  /** Which weights are trained. */
  readonly trainScope: TrainScope;
  /** What has a probability ratio of its own. */
  readonly ratioLevel: RatioLevel;
  /** Largest change of a probability ratio, as a fraction. */
  readonly clipRange: number;
  /** The same above 1; 0 is as below. */
  readonly clipRangeHigh: number;
  /** c of the dual clip, above 1; 0 is off. */
  readonly dualClip: number;
  /** Whether the trust region is around the learner's own weights before the update. */
  readonly decoupled: boolean;
  /** Largest weight of a token of stale data. */
  readonly tokenWeightCap: number;
  /** Largest weight of a chunk of stale data. */
  readonly chunkWeightCap: number;
  /** What γ is the discount of. */
  readonly discounting: Discounting;
  /** γ, a control step or a chunk. */
  readonly gamma: number;
  /** λ of generalised advantage estimation, per chunk. */
  readonly gaeLambda: number;
  /** Weight of the value loss. */
  readonly valueLossWeight: number;
  /** Shape of the critic's error. */
  readonly valueLoss: ValueLossKind;
  /** δ of Huber's loss, in the critic's units. */
  readonly huberDelta: number;
  /** Whether the critic learns returns at mean 0 and deviation 1. */
  readonly valueNormalization: boolean;
  /** Updates that train the critic alone before the policy is trained too. */
  readonly criticWarmUpUpdates: number;
  /** Largest change of a value in one update; 0 is off. */
  readonly valueClipRange: number;
  /** Weight of the entropy bonus. */
  readonly entropyWeight: number;
  /** Norm that gradients are clipped to. */
  readonly maxGradNorm: number;
  /** Decay of Adam's first moment. */
  readonly adamBeta1: number;
  /** Decay of Adam's second moment. */
  readonly adamBeta2: number;
  /** Adam's denominator offset. */
  readonly adamEpsilon: number;
  /** Approximate KL, in nats, at which an update stops early; 0 is off. */
  readonly targetKl: number;
  /** Weight of the KL to the imitation policy; 0 is off. */
  readonly klWeight: number;
  /** KL to the imitation policy, nats a token, that the weight is adapted to; 0 leaves the weight. */
  readonly imitationKlTarget: number;
  /** Weight of the imitation loss on demonstrations and on a person's chunks; 0 is off. */
  readonly imitationWeight: number;
  /** File of demonstrations; empty for none. */
  readonly demonstrations: string;
  /** What the environment's rewards are multiplied by. */
  readonly environmentRewardWeight: number;
  /** What a person's rewards are multiplied by. */
  readonly humanRewardWeight: number;
  /** What the reward for new observations is multiplied by; 0 is off. */
  readonly intrinsicRewardWeight: number;
  /** Whether the vision encoder is trained too. */
  readonly trainVision: boolean;
  /** Whether advantages are normalised over an update. */
  readonly normalizeAdvantages: boolean;
}

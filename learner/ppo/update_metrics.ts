/**
 * The numbers that tell how an update went.
 * @module
 */

import type { RefusedTransition } from "../../common/wire/messages.ts";
import type { ChunkFault } from "./admit_chunks.ts";
import type { BehaviourGap } from "./behaviour_gap.ts";

/** What one update came to: means over its gradient steps unless said otherwise. */
export interface UpdateMetrics {
  /** Clipped surrogate loss. */
  readonly policyLoss: number;
  /** Value loss, in reward²; where the critic learns normalised returns, in their deviation². */
  readonly valueLoss: number;
  /** Entropy, nats a token. */
  readonly entropy: number;
  /** Approximate KL(old ‖ new), nats a ratio: a chunk, or a token. Old is what ratios are to. */
  readonly approxKl: number;
  /** Fraction of ratios outside the clip range. */
  readonly clipFraction: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** KL to the imitation policy, nats a token; 0 when its weight is 0. */
  readonly klToImitation: number;
  /** Weight of that KL during this update. */
  readonly klWeight: number;
  /** Imitation loss, nats a token; null if there was none. */
  readonly imitationLoss: number | null;
  /** Explained variance of the values that came with the chunks. */
  readonly explainedVariance: number;
  /** Mean that the critic's returns are normalised by, in reward; 0 if they are not. */
  readonly returnMean: number;
  /** Their deviation; 1 if they are not. */
  readonly returnDeviation: number;
  /** Mean probability ratio over all steps: new to old. Null if there was none, as for the next three. */
  readonly ratioMean: number | null;
  /** The largest. */
  readonly ratioMax: number | null;
  /** Share of ratios clipped from below. */
  readonly ratiosClippedLow: number | null;
  /** Share of ratios clipped from above. */
  readonly ratiosClippedHigh: number | null;
  /**
   * Mean ratio of the learner's policy before the update to the one that sampled, before the cap of
   * decoupled PPO's weights; null in plain PPO, as for the next three.
   */
  readonly behaviourRatioMean: number | null;
  /** The largest. */
  readonly behaviourRatioMax: number | null;
  /** Share of weights that the cap cuts. */
  readonly weightsCapped: number | null;
  /** What the weighted samples are worth, as a share of their number. */
  readonly effectiveSampleSize: number | null;
  /**
   * Largest |recomputed − recorded| log-probability of the first minibatch, nats a chunk. Rounding
   * alone when controllers compute as the learner does; with controllers of another precision it shows
   * how far their policy is from this one, since they record their own log-probabilities.
   */
  readonly logProbGap: number;
  /**
   * Mean |Δ log-probability| of a token between this policy and the one that sampled it, in nats,
   * before the update and over chunks of the same weights; null if there were none.
   */
  readonly behaviourGapMean: number | null;
  /** The largest, in nats; null as above. */
  readonly behaviourGapMax: number | null;
  /** Estimate of KL(behaviour ‖ this policy), in nats a token; null as above. */
  readonly behaviourKl: number | null;
  /** Tokens compared. */
  readonly behaviourGapTokens: number;
  /** The same by precision and decoder of the policies that sampled. */
  readonly behaviourGaps: readonly BehaviourGap[];
  /** Chunks whose image tokens came with them and were taken. */
  readonly imageTokensTaken: number;
  /**
   * Largest difference between image tokens that came and this policy's own, as a share of the largest
   * number among a few chunks of both; null if none came.
   */
  readonly imageTokenGap: number | null;
  /** Gradient steps taken. */
  readonly gradientSteps: number;
  /** Gradient steps left out because a number was not finite. */
  readonly skippedSteps: number;
  /** Times that the last good weights came back, after several such steps in a row. */
  readonly rollbacks: number;
  /** Chunks that a person drove: they train the critic, and imitation if that is on. */
  readonly personChunks: number;
  /** Chunks left out because this policy cannot have sampled them. */
  readonly malformedChunks: number;
  /** The same by what is wrong. */
  readonly chunkFaults: Readonly<Record<ChunkFault, number>>;
  /** What is wrong with the first of them, in one sentence; null if there is none. */
  readonly firstFault: string | null;
  /** All of them, for whoever sent them. */
  readonly refusedChunks: readonly RefusedTransition[];
  /** 1 if only the critic was trained, for its warm-up. */
  readonly criticAlone: number;
  /** 1 if the KL bound ended the update early. */
  readonly stoppedEarly: number;
  /** Milliseconds spent on tokenising, masks and, when it is frozen, the image encoder. */
  readonly prepareMs: number;
  /** Milliseconds spent on comparing recorded log-probabilities with this policy's. */
  readonly compareMs: number;
  /** Milliseconds spent on forward and backward passes. */
  readonly gradientMs: number;
  /** Milliseconds spent in the optimiser. */
  readonly optimizerMs: number;
}

/** What a person should look at, a sentence each. */
export function troublesOf(
  { malformedChunks, firstFault, skippedSteps, rollbacks, imageTokensTaken, imageTokenGap }: Pick<
    UpdateMetrics,
    | "malformedChunks"
    | "firstFault"
    | "skippedSteps"
    | "rollbacks"
    | "imageTokensTaken"
    | "imageTokenGap"
  >,
): string[] {
  return [
    ...(malformedChunks > 0
      ? [`${malformedChunks} chunks cannot have been sampled; left out. ${firstFault}`]
      : []),
    ...(skippedSteps > 0 ? [`${skippedSteps} gradient steps were not finite; left out`] : []),
    ...(rollbacks > 0
      ? [`Weights and optimiser went back to their last good state ${rollbacks} times`]
      : []),
    ...(imageTokenGap !== null && imageTokensTaken === 0
      ? [
        `Image tokens that came with chunks are not this policy's: they differ by ` +
        `${(100 * imageTokenGap).toPrecision(2)} % of the largest; computed here instead`,
      ]
      : []),
  ];
}

/** Means of numbers that steps come to, by name. */
export class StepMeans {
  readonly #sums = new Map<string, { sum: number; count: number }>();

  /** Take in a step's numbers. */
  add(numbers: Readonly<Record<string, number>>): void {
    for (const [name, value] of Object.entries(numbers)) {
      const { sum, count } = this.#sums.get(name) ?? { sum: 0, count: 0 };
      this.#sums.set(name, { sum: sum + value, count: count + 1 });
    }
  }

  /** The mean; null if no step has told it. */
  find(name: string): number | null {
    const found = this.#sums.get(name);
    return found ? found.sum / found.count : null;
  }

  /** The mean; 0 if no step has told it. */
  get(name: string): number {
    return this.find(name) ?? 0;
  }
}

/**
 * One PPO update: several epochs of minibatches over chunks with their advantages.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor, Variable } from "../../common/policy/tensors.ts";
import {
  type ActorCritic,
  type PreparedChunks,
  selectRows,
} from "../../common/policy/actor_critic.ts";
import { type BehaviourGap, measureBehaviourGaps, poolGaps } from "./behaviour_gap.ts";
import type { Estimate } from "./gae.ts";
import { normalizeAdvantages } from "./gae.ts";
import { clippedGradients } from "./gradients.ts";
import { explainedVariance, klToReference, type Losses, ppoLosses } from "./loss.ts";
import { AdamState } from "./adam_state.ts";

/** Settings of PPO; fields and meanings are those of the configuration. */
export interface PpoOptions {
  /** Passes over the chunks. */
  readonly epochs: number;
  /** Chunks of one gradient step. */
  readonly batchSize: number;
  /** Adam's step size for the backbone. */
  readonly learningRate: number;
  /** Adam's step size for the critic. */
  readonly valueLearningRate: number;
  /** Adam's decay of the mean of gradients. */
  readonly adamBeta1: number;
  /** Adam's decay of the mean of squared gradients. */
  readonly adamBeta2: number;
  /** Offset of Adam's denominator. */
  readonly adamEpsilon: number;
  /** ε of the clipped surrogate. */
  readonly clipRange: number;
  /** Largest change of a value; 0 is off. */
  readonly valueClipRange: number;
  /** Weight of the value loss. */
  readonly valueLossWeight: number;
  /** Weight of the entropy bonus. */
  readonly entropyWeight: number;
  /** Bound of the gradients' norm. */
  readonly maxGradNorm: number;
  /** Approximate KL at which the update stops early; 0 is off. */
  readonly targetKl: number;
  /** Weight of the KL to the frozen imitation policy; 0 is off. */
  readonly klWeight: number;
  /** Train the image encoder too. */
  readonly trainVision: boolean;
  /** Normalise advantages over the update's chunks. */
  readonly normalizeAdvantages: boolean;
  /** Temperature that chunks are sampled with. */
  readonly temperature: number;
}

/** What one update came to: means over its minibatches unless said otherwise. */
export interface UpdateMetrics {
  /** Clipped surrogate loss. */
  readonly policyLoss: number;
  /** Value loss, in reward². */
  readonly valueLoss: number;
  /** Entropy, nats a token. */
  readonly entropy: number;
  /** Approximate KL(old ‖ new), nats a chunk. */
  readonly approxKl: number;
  /** Fraction of chunks outside the clip range. */
  readonly clipFraction: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** KL to the imitation policy, nats a token; 0 when its weight is 0. */
  readonly klToImitation: number;
  /** Explained variance of the values that came with the chunks. */
  readonly explainedVariance: number;
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
  /** Gradient steps taken. */
  readonly gradientSteps: number;
  /** Gradient steps left out because a number was not finite. */
  readonly skippedSteps: number;
  /** Chunks left out because this policy cannot have sampled them. */
  readonly malformedChunks: number;
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

/** Sums that become {@link UpdateMetrics}. */
const STEP_METRICS = [
  "policyLoss",
  "valueLoss",
  "entropy",
  "approxKl",
  "clipFraction",
  "klToImitation",
  "gradNorm",
] as const;

/** A policy being trained by PPO. Owner of its optimiser; the policies are the caller's. */
export class PpoTrainer implements Disposable {
  /** Adam's state, to write and to restore. */
  readonly adam: AdamState;
  readonly #policy: ActorCritic;
  readonly #reference: ActorCritic | undefined;
  readonly #options: PpoOptions;
  /** The backbone's trained variables, then the critic's. */
  readonly #variables: Variable[];

  /**
   * No step taken yet.
   * @param policy What is trained.
   * @param options Settings.
   * @param reference The frozen imitation policy; needed when `klWeight` is above 0.
   */
  constructor(policy: ActorCritic, options: PpoOptions, reference?: ActorCritic) {
    if (options.klWeight > 0 && !reference) {
      throw new RangeError("A KL weight above 0 needs the imitation policy as reference");
    }
    this.#policy = policy;
    this.#options = options;
    this.#reference = options.klWeight > 0 ? reference : undefined;
    this.#variables = trainableVariables(policy, options.trainVision);
    const critic = policy.network.valueHead.select(() => true);
    this.adam = new AdamState(options, this.#variables, critic);
  }

  /**
   * Improve the policy on chunks.
   * Chunks that this policy cannot have sampled are left out, counted.
   * @param received Chunks with advantages and value targets.
   * @param random Shuffles the minibatches.
   * @param policyVersion Version of the weights as they are: chunks of it show the gap between the
   *   policies that sampled and this one. Nothing is compared if absent.
   */
  async update(
    received: readonly Estimate[],
    random: () => number,
    policyVersion?: number,
  ): Promise<UpdateMetrics> {
    const { epochs, batchSize, targetKl, temperature } = this.#options;
    const prepareStart = performance.now();
    const estimates = received.filter(({ transition: t }) =>
      this.#policy.findFault(t.observation, t.tokens) === null
    );
    if (estimates.length === 0) {
      throw new RangeError("Cannot update: no chunk can have been sampled by this policy");
    }
    const chunks = this.#options.normalizeAdvantages ? normalizeAdvantages(estimates) : estimates;
    const tokenized = this.#policy.prepareChunks(
      chunks.map((e) => e.transition.observation),
      chunks.map((e) => e.transition.tokens),
    );
    const prepared = this.#options.trainVision
      ? tokenized
      : await this.#policy.encodeImagesOnce(tokenized, batchSize);
    const compareStart = performance.now();
    const behaviourGaps = policyVersion === undefined ? [] : await measureBehaviourGaps(
      this.#policy,
      prepared,
      estimates.map((e) => e.transition),
      { policyVersion, temperature, batchSize },
    );
    const time = {
      prepareMs: compareStart - prepareStart,
      compareMs: performance.now() - compareStart,
      gradientMs: 0,
      optimizerMs: 0,
    };
    const sums = new Map<string, number>();
    let steps = 0, skipped = 0, stoppedEarly = 0, logProbGap = 0;

    const lengths = prepared.tokens.map((row) => row.length);
    training: for (let epoch = 0; epoch < epochs; epoch++) {
      let epochKl = 0, batches = 0;
      for (const rows of minibatches(lengths, batchSize, random)) {
        const step = await this.#step(selectRows(prepared, rows), rows.map((i) => chunks[i]), time);
        if (epoch === 0 && batches === 0) logProbGap = step.logProbGap;
        batches++;
        if (!step.isFinite) {
          skipped++;
          continue;
        }
        steps++;
        for (const name of STEP_METRICS) sums.set(name, (sums.get(name) ?? 0) + step[name]);
        epochKl += step.approxKl;
      }
      if (targetKl > 0 && epochKl / batches > targetKl) {
        stoppedEarly = epoch < epochs - 1 ? 1 : 0;
        break training;
      }
    }
    const gap = poolGaps(behaviourGaps);
    const mean = (name: string) => (sums.get(name) ?? 0) / Math.max(1, steps);
    return {
      policyLoss: mean("policyLoss"),
      valueLoss: mean("valueLoss"),
      entropy: mean("entropy"),
      approxKl: mean("approxKl"),
      clipFraction: mean("clipFraction"),
      gradNorm: mean("gradNorm"),
      klToImitation: mean("klToImitation"),
      explainedVariance: explainedVariance(
        estimates.map((e) => e.transition.value),
        estimates.map((e) => e.valueTarget),
      ),
      logProbGap,
      behaviourGapMean: gap?.mean ?? null,
      behaviourGapMax: gap?.max ?? null,
      behaviourKl: gap?.kl ?? null,
      behaviourGapTokens: gap?.tokens ?? 0,
      behaviourGaps,
      gradientSteps: steps,
      skippedSteps: skipped,
      malformedChunks: received.length - estimates.length,
      stoppedEarly,
      ...time,
    };
  }

  /** One gradient step. Leaves the weights alone if anything is not finite. */
  async #step(
    batch: PreparedChunks,
    chunks: readonly Estimate[],
    time: { gradientMs: number; optimizerMs: number },
  ) {
    const start = performance.now();
    const watched: Tensor[] = [];
    const { norm, loss, gradients } = await clippedGradients(
      () => this.#loss(batch, chunks, watched),
      this.#variables,
      this.#options.maxGradNorm,
    );
    const scalars = await watched[0].data();
    const logProbs = await watched[1].data();
    tf.dispose(watched);
    const middle = performance.now();
    time.gradientMs += middle - start;
    const isFinite = Number.isFinite(loss) && Number.isFinite(norm);
    if (isFinite) this.adam.apply(gradients);
    tf.dispose(gradients);
    time.optimizerMs += performance.now() - middle;
    const [policyLoss, valueLoss, entropy, approxKl, clipFraction, klToImitation] = scalars;
    const logProbGap = chunks.reduce(
      (gap, c, i) => Math.max(gap, Math.abs(logProbs[i] - c.transition.logProb)),
      0,
    );
    return {
      policyLoss,
      valueLoss,
      entropy,
      approxKl,
      clipFraction,
      klToImitation,
      gradNorm: norm,
      logProbGap,
      isFinite,
    };
  }

  /** The loss of a minibatch; what is worth watching goes to `watched`, kept. */
  #loss(batch: PreparedChunks, chunks: readonly Estimate[], watched: Tensor[]): Scalar {
    const { temperature, klWeight } = this.#options;
    const column = (pick: (e: Estimate) => number) => tf.tensor1d(chunks.map(pick));
    const evaluation = this.#policy.evaluate(batch, temperature);
    const losses: Losses = ppoLosses({
      logProb: evaluation.logProb,
      entropy: evaluation.entropy,
      value: evaluation.value,
      oldLogProb: column((e) => e.transition.logProb),
      oldValue: column((e) => e.transition.value),
      advantage: column((e) => e.advantage),
      valueTarget: column((e) => e.valueTarget),
    }, this.#options);
    const kl = this.#reference
      ? klToReference(
        evaluation.logProbs,
        this.#reference.evaluate(batch, temperature).logProbs,
        evaluation.isToken,
      )
      : tf.scalar(0);
    const { policy, value, entropy, approxKl, clipFraction } = losses;
    watched.push(
      tf.keep(tf.stack([policy, value, entropy, approxKl, clipFraction, kl])),
      tf.keep(tf.clone(evaluation.logProb)),
    );
    return this.#reference ? tf.add(losses.total, tf.mul(kl, klWeight)) : losses.total;
  }

  /** Free the optimiser. */
  [Symbol.dispose](): void {
    this.adam[Symbol.dispose]();
  }
}

/**
 * What is trained: the critic, and of the backbone everything — or, in a LoRA variant, everything
 * but the language model's own weights. The image encoder can be left out.
 */
function trainableVariables({ network }: ActorCritic, trainVision: boolean): Variable[] {
  const hasLora = network.variant.gemma.lora !== undefined;
  const isTrained = (path: string) =>
    path.startsWith("PaliGemma/img/") ? trainVision : !hasLora || path.includes("lora");
  return [...network.backbone.select(isTrained), ...network.valueHead.select(() => true)];
}

/**
 * Cut chunks at random into batches of like length, in random order: a batch is as long as its
 * longest chunk, and a few long ones would otherwise make every batch slow.
 * @param lengths Tokens of each chunk.
 * @returns Indices; a short rest is a batch of its own.
 */
function minibatches(
  lengths: readonly number[],
  size: number,
  random: () => number,
): number[][] {
  const order = shuffle(lengths.map((_, i) => i), random).sort((i, j) => lengths[i] - lengths[j]);
  const batches = Array.from(
    { length: Math.ceil(order.length / size) },
    (_, b) => order.slice(b * size, (b + 1) * size),
  );
  return shuffle(batches, random);
}

/** Shuffle in place (Fisher and Yates). */
function shuffle<T>(items: T[], random: () => number): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/**
 * One PPO update: several epochs of minibatches over chunks with their advantages.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Variable } from "../../common/policy/tensors.ts";
import {
  type ActorCritic,
  type PreparedChunks,
  selectRows,
} from "../../common/policy/actor_critic.ts";
import type { ImitationExample } from "../imitation.ts";
import { AdamState } from "./adam_state.ts";
import { nextKlWeight } from "./adaptive_kl.ts";
import { admitChunks, type AdmittedChunks } from "./admit_chunks.ts";
import { measureBehaviourGaps, poolGaps } from "./behaviour_gap.ts";
import { EMPTY_EPOCH, shouldStopEarly, trackKl } from "./early_stop.ts";
import { type Estimate, normalizeAdvantages } from "./gae.ts";
import { GoodWeights } from "./good_weights.ts";
import { differentiateBatch } from "./gradient_step.ts";
import { isEncoderFrozen, withImageTokens } from "./image_tokens.ts";
import { explainedVariance } from "./loss.ts";
import { minibatches } from "./minibatch.ts";
import { chunksAtOnce, lossOptions, type PpoOptions } from "./ppo_options.ts";
import { logRatiosOf, summarizeStaleData, tokenLogProbsOf } from "./proximal.ts";
import { summarizeRatios } from "./ratio_metrics.ts";
import { ScaledCritic } from "./scaled_critic.ts";
import { FRESH_GUARD, type GuardState, guardStep } from "./step_guard.ts";
import { trainableVariables } from "./trainable.ts";
import { StepMeans, type UpdateMetrics } from "./update_metrics.ts";
import { isPolicyDriven } from "./value_after.ts";
import { REWARD_SCALE, ValueNormalizer, type ValueStatistics } from "./value_normalizer.ts";

export type { PpoOptions } from "./ppo_options.ts";
export type { UpdateMetrics } from "./update_metrics.ts";

/** What an update is told besides its chunks. */
export interface UpdateContext {
  /**
   * Version of the weights as they are: chunks of it show the gap between the policies that sampled and
   * this one. Nothing is compared if absent.
   */
  readonly policyVersion?: number;
  /** Train the critic alone; false if absent. */
  readonly isCriticAlone?: boolean;
  /** Examples to imitate beside a person's chunks, where imitation has a weight. */
  readonly demonstrations?: readonly ImitationExample[];
}

/** An update's data, ready for gradient steps. */
interface PreparedUpdate {
  readonly estimates: readonly Estimate[];
  readonly prepared: PreparedChunks;
  readonly imageTokensTaken: number;
  readonly imageTokenGap: number | null;
  readonly proximal: readonly Float32Array[] | undefined;
  readonly examples: readonly ImitationExample[];
}

/** A policy being trained by PPO. Owner of its optimiser; the policies are the caller's. */
export class PpoTrainer implements Disposable {
  /** Adam's state, to write and to restore. */
  readonly adam: AdamState;
  /** Scale of the critic's answers, to write and to restore; null where they are in units of reward. */
  readonly critic: ScaledCritic | null;
  /** Weight of the KL to the imitation policy, which may adapt; to write and to restore. */
  klWeight: number;
  /** What has happened to steps that were not finite; to write and to restore. */
  guard: GuardState = FRESH_GUARD;
  /** Whether a path of the backbone is trained; the others stay as they are. */
  readonly isTrained: (path: string) => boolean;
  readonly #policy: ActorCritic;
  readonly #reference: ActorCritic | undefined;
  readonly #options: PpoOptions;
  /** The backbone's trained variables, then the critic's. */
  readonly #variables: readonly Variable[];
  readonly #critics: readonly Variable[];
  readonly #good: GoodWeights;
  /** Scale of the critic among the good weights. */
  #goodStatistics: ValueStatistics | undefined;

  /**
   * No step taken yet.
   * @param policy What is trained.
   * @param options Settings.
   * @param reference The frozen imitation policy; needed when `klWeight` is above 0.
   * @throws RangeError if it is needed and missing, or what is to be trained cannot be.
   */
  constructor(policy: ActorCritic, options: PpoOptions, reference?: ActorCritic) {
    if (options.klWeight > 0 && !reference) {
      throw new RangeError("A KL weight above 0 needs the imitation policy as reference");
    }
    this.#policy = policy;
    this.#options = options;
    this.#reference = options.klWeight > 0 ? reference : undefined;
    this.klWeight = options.klWeight;
    const { backbone, critic, isTrained } = trainableVariables(policy, options);
    this.isTrained = isTrained;
    this.#variables = [...backbone, ...critic];
    this.#critics = critic;
    this.adam = new AdamState(options, this.#variables, critic);
    this.critic = options.valueNormalization ? new ScaledCritic(policy.network.valueHead) : null;
    this.#good = new GoodWeights(this.#variables, this.adam);
  }

  /**
   * Improve the policy on chunks.
   * Chunks that this policy cannot have sampled are left out, counted.
   * @param received Chunks with advantages and value targets, in units of reward.
   * @param random Shuffles the minibatches and draws examples.
   * @param context What else there is to know.
   */
  async update(
    received: readonly Estimate[],
    random: () => number,
    context: UpdateContext = {},
  ): Promise<UpdateMetrics> {
    const { policyVersion, isCriticAlone = false, demonstrations = [] } = context;
    const options = this.#options;
    const { temperature, targetKl, ratioLevel = "chunk" } = options;
    const time = { prepareMs: 0, compareMs: 0, gradientMs: 0, optimizerMs: 0 };
    const start = performance.now();
    const chunks = admitChunks(this.#policy, received);
    const data = chunks.admitted.length > 0
      ? await this.#prepare(chunks, demonstrations, time)
      : null;
    const compareStart = performance.now();
    time.prepareMs += compareStart - start - time.compareMs;
    const behaviourGaps = policyVersion === undefined || !data ? [] : await measureBehaviourGaps(
      this.#policy,
      data.prepared,
      data.estimates.map((e) => e.transition),
      { policyVersion, temperature, batchSize: chunksAtOnce(options), known: data.proximal },
    );
    time.compareMs += performance.now() - compareStart;
    const targets = chunks.admitted.map((e) => e.valueTarget);
    const values = chunks.admitted.map((e) => e.transition.value);
    await this.critic?.see(targets.filter(Number.isFinite));
    if (await this.#good.keep()) this.#goodStatistics = this.critic?.normalizer.statistics;

    const means = new StepMeans();
    const logRatios: number[] = [];
    const { klWeight, guard: before } = this;
    let gradientSteps = 0, stoppedEarly = 0, logProbGap: number | null = null;
    for (let epoch = 0; data && epoch < options.epochs; epoch++) {
      let epochKl = EMPTY_EPOCH;
      const lengths = data.prepared.tokens.map((row) => row.length);
      for (const rows of minibatches(lengths, options.batchSize, random)) {
        const step = await this.#step(data, rows, { random, isCriticAlone, time });
        logProbGap ??= step.logProbGap;
        if (!step.isTaken) continue;
        gradientSteps++;
        means.add(step.numbers);
        for (const logRatio of step.logRatios) logRatios.push(logRatio);
        epochKl = trackKl(epochKl, step.numbers.approxKl);
      }
      if (shouldStopEarly(epochKl, { targetKl })) {
        stoppedEarly = epoch < options.epochs - 1 ? 1 : 0;
        break;
      }
    }
    this.#adaptKlWeight(means.find("klToImitation"), isCriticAlone);
    const gap = poolGaps(behaviourGaps);
    const ratios = summarizeRatios(logRatios, lossOptions(options, 1, REWARD_SCALE));
    const stale = data?.proximal
      ? summarizeStaleData(data.estimates, data.proximal, {
        level: ratioLevel,
        cap: (ratioLevel === "token" ? options.tokenWeightCap : options.chunkWeightCap) ?? Infinity,
      })
      : null;
    const scale = this.critic?.scale ?? REWARD_SCALE;
    return {
      policyLoss: means.get("policyLoss"),
      valueLoss: means.get("valueLoss"),
      entropy: means.get("entropy"),
      approxKl: means.get("approxKl"),
      clipFraction: means.get("clipFraction"),
      gradNorm: means.get("gradNorm"),
      klToImitation: means.get("klToImitation"),
      klWeight,
      imitationLoss: means.find("imitationLoss"),
      explainedVariance: values.length > 0 ? explainedVariance(values, targets) : 0,
      returnMean: scale.mean,
      returnDeviation: scale.deviation,
      ratioMean: ratios?.mean ?? null,
      ratioMax: ratios?.max ?? null,
      ratiosClippedLow: ratios?.clippedLow ?? null,
      ratiosClippedHigh: ratios?.clippedHigh ?? null,
      behaviourRatioMean: stale?.behaviourRatioMean ?? null,
      behaviourRatioMax: stale?.behaviourRatioMax ?? null,
      weightsCapped: stale?.weightsCapped ?? null,
      effectiveSampleSize: stale?.effectiveSampleSize ?? null,
      logProbGap: logProbGap ?? 0,
      behaviourGapMean: gap?.mean ?? null,
      behaviourGapMax: gap?.max ?? null,
      behaviourKl: gap?.kl ?? null,
      behaviourGapTokens: gap?.tokens ?? 0,
      behaviourGaps,
      imageTokensTaken: data?.imageTokensTaken ?? 0,
      imageTokenGap: data?.imageTokenGap ?? null,
      gradientSteps,
      skippedSteps: this.guard.skipped - before.skipped,
      rollbacks: this.guard.rollbacks - before.rollbacks,
      personChunks: chunks.admitted.filter((e) => !isPolicyDriven(e.transition)).length,
      malformedChunks: received.length - chunks.admitted.length,
      chunkFaults: chunks.faults,
      firstFault: chunks.refused.at(0)?.sentence ?? null,
      refusedChunks: chunks.refused,
      criticAlone: isCriticAlone ? 1 : 0,
      stoppedEarly,
      ...time,
    };
  }

  /** Everything that is computed once an update. */
  async #prepare(
    { admitted }: AdmittedChunks,
    demonstrations: readonly ImitationExample[],
    time: { compareMs: number },
  ): Promise<PreparedUpdate> {
    const { trainScope, decoupled, imitationWeight = 0 } = this.#options;
    const atOnce = chunksAtOnce(this.#options);
    const estimates = this.#options.normalizeAdvantages ? normalizeAdvantages(admitted) : admitted;
    const tokenized = this.#policy.prepareChunks(
      estimates.map((e) => e.transition.observation),
      estimates.map((e) => e.transition.tokens),
    );
    const transitions = estimates.map((e) => e.transition);
    const encoded = isEncoderFrozen(this.#options)
      ? await withImageTokens(this.#policy, tokenized, transitions, atOnce)
      : null;
    const prepared = encoded?.chunks ?? tokenized;
    const { temperature } = this.#options;
    const start = performance.now();
    const proximal = decoupled
      ? await tokenLogProbsOf(this.#policy, prepared, { temperature, batchSize: atOnce })
      : undefined;
    time.compareMs += performance.now() - start;
    const isImitating = imitationWeight > 0 && trainScope !== "value_head";
    const shown = admitted.flatMap(({ transition }) =>
      isPolicyDriven(transition) ? [] : [transition]
    );
    return {
      estimates,
      prepared,
      imageTokensTaken: encoded?.taken ?? 0,
      imageTokenGap: encoded?.gap ?? null,
      proximal,
      examples: isImitating ? [...shown, ...demonstrations] : [],
    };
  }

  /** One gradient step. Leaves the weights alone, or takes the last good ones, if it is not finite. */
  async #step(
    data: PreparedUpdate,
    rows: readonly number[],
    { random, isCriticAlone, time }: {
      readonly random: () => number;
      readonly isCriticAlone: boolean;
      readonly time: { gradientMs: number; optimizerMs: number };
    },
  ) {
    const start = performance.now();
    const { temperature, batchSize, maxGradNorm, imitationWeight = 0, ratioLevel = "chunk" } =
      this.#options;
    const scale = this.critic?.scale ?? REWARD_SCALE;
    const batch = {
      prepared: selectRows(data.prepared, rows),
      estimates: rows.map((row) => data.estimates[row]),
      proximal: data.proximal && rows.map((row) => data.proximal![row]),
    };
    const { length } = data.examples;
    const examples = length === 0 || isCriticAlone
      ? []
      : Array.from({ length: batchSize }, () => data.examples[Math.floor(random() * length)]);
    const { gradients, loss, norm, watched, imitationLoss, tokenLogProbs } =
      await differentiateBatch(this.#policy, batch, {
        losses: lossOptions(this.#options, isCriticAlone ? 0 : 1, scale),
        temperature,
        scale,
        anchor: this.#reference && { policy: this.#reference, weight: this.klWeight },
        variables: isCriticAlone ? this.#critics : this.#variables,
        chunksAtOnce: chunksAtOnce(this.#options),
        maxGradNorm,
        imitation: examples.length > 0 ? { examples, weight: imitationWeight } : undefined,
      });
    const middle = performance.now();
    time.gradientMs += middle - start;
    const { action, state } = guardStep(this.guard, [loss, norm]);
    this.guard = state;
    if (action === "apply") this.adam.apply(gradients);
    tf.dispose(gradients);
    if (action === "rollback") this.#rollBack();
    time.optimizerMs += performance.now() - middle;
    return {
      isTaken: action === "apply",
      numbers: { ...watched, gradNorm: norm, ...(imitationLoss !== null && { imitationLoss }) },
      logRatios: logRatiosOfBatch(batch, tokenLogProbs, ratioLevel),
      logProbGap: largestGap(batch.estimates, tokenLogProbs),
    };
  }

  /** Take the last good weights, the optimiser and the critic's scale that belong to them. */
  #rollBack(): void {
    if (!this.#good.restore() || !this.critic || !this.#goodStatistics) return;
    this.critic.normalizer = new ValueNormalizer(undefined, this.#goodStatistics);
  }

  /** Follow the KL target, if there is one. */
  #adaptKlWeight(kl: number | null, isCriticAlone: boolean): void {
    const { imitationKlTarget: target = 0 } = this.#options;
    if (target === 0 || kl === null || isCriticAlone || !this.#reference) return;
    this.klWeight = nextKlWeight(this.klWeight, kl, { target });
  }

  /** Free the optimiser. */
  [Symbol.dispose](): void {
    this.adam[Symbol.dispose]();
  }
}

/** Log-ratios of the chunks that the policy drove, to what their loss's ratios are to. */
function logRatiosOfBatch(
  { estimates, proximal }: Pick<PreparedUpdate, "estimates" | "proximal">,
  tokenLogProbs: readonly Float32Array[],
  level: "chunk" | "token",
): number[] {
  return estimates.flatMap(({ transition }, i) =>
    isPolicyDriven(transition)
      ? logRatiosOf(tokenLogProbs[i], proximal?.[i] ?? transition.tokenLogProbs, level)
      : []
  );
}

/** Largest |recomputed − recorded| log-probability of a chunk, nats. */
function largestGap(
  estimates: readonly Estimate[],
  tokenLogProbs: readonly Float32Array[],
): number {
  return estimates.reduce((gap, { transition }, i) => {
    if (!isPolicyDriven(transition)) return gap;
    const own = tokenLogProbs[i].reduce((sum, x) => sum + x, 0);
    return Math.max(gap, Math.abs(own - transition.logProb));
  }, 0);
}

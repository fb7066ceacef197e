/**
 * The learner's numbers for Prometheus, in a registry of their own.
 *
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { MetricsSource } from "../../common/http/status_app.ts";
import { REFUSAL_REASONS, type RefusalReason } from "../../common/wire/refusals.ts";
import type { MetricsRecord, MetricsSink } from "./sink.ts";

/**
 * Keys of an update's record that become gauges `tendon_learner_<name>`, with their help texts.
 * Other keys of a record are ignored here.
 */
export const UPDATE_GAUGES = {
  episodeReward: [
    "episode_reward",
    "Mean sum of rewards of the episodes ended since the last update",
  ],
  chunkReward: ["chunk_reward", "Mean reward of the update's chunks"],
  successRate: ["success_rate", "Share of those episodes that met the success condition, 0 to 1"],
  policyLoss: ["policy_loss", "Clipped policy loss"],
  valueLoss: ["value_loss", "Value loss"],
  entropy: ["entropy_nats", "Mean entropy a token, in nats"],
  approxKl: ["approx_kl_nats", "Approximate KL from the behaviour policy, in nats"],
  clipFraction: ["clip_fraction", "Share of ratios outside the clip range, 0 to 1"],
  explainedVariance: [
    "explained_variance",
    "Share of the returns' variance that the critic explains",
  ],
  gradNorm: ["grad_norm", "Norm of the gradient before clipping"],
  chunksPerSecond: ["chunks_per_second", "Chunks accepted a second since the last update"],
  weightAge: ["weight_age_versions", "Mean age of the chunks' weights, in policy versions"],
  weightAgeMax: ["weight_age_versions_max", "Greatest age of the chunks' weights, in versions"],
  ratioMean: ["ratio_mean", "Mean probability ratio of the new policy to the old one"],
  ratioMax: ["ratio_max", "Largest such ratio"],
  behaviourRatioMean: [
    "behaviour_ratio_mean",
    "Mean ratio of the policy before the update to the one that sampled, before its cap",
  ],
  behaviourRatioMax: ["behaviour_ratio_max", "Largest such ratio"],
  weightsCapped: ["weights_capped", "Share of such ratios above their cap, 0 to 1"],
  effectiveSampleSize: [
    "effective_sample_size",
    "What the weighted samples are worth, as a share of their number",
  ],
  klToImitation: ["kl_to_imitation_nats", "KL to the imitation policy, in nats a token"],
  klWeight: ["kl_weight", "Weight of that KL"],
  imitationLoss: ["imitation_loss_nats", "Imitation loss, in nats a token"],
  rewardEnvironment: ["reward_environment", "Mean reward a chunk that the environment gave"],
  rewardHuman: ["reward_human", "Mean reward a chunk that people gave"],
  rewardIntrinsic: ["reward_intrinsic", "Mean reward a chunk for what was new"],
  personChunks: ["person_chunks", "Chunks of the update that a person drove"],
  malformedChunks: ["malformed_chunks", "Chunks of the update that could not be trained on"],
  skippedSteps: ["skipped_steps", "Gradient steps of the update that were not finite"],
  rollbacks: ["rollbacks", "Times in the update that the last good weights came back"],
  learningRateScale: ["learning_rate_scale", "Share of the configured step sizes in use, 0 to 1"],
} as const satisfies Record<string, readonly [name: string, help: string]>;

/**
 * Keys of a record that become gauges with the labels `precision` and `decoder`, which follow the key:
 * `behaviourKl.int8.wasm`. An update without chunks to compare leaves them as they are.
 */
export const BEHAVIOUR_GAUGES = {
  behaviourGapMean: [
    "behaviour_gap_mean_nats",
    "Mean distance of a token's recorded log-probability from the learner's, in nats",
  ],
  behaviourGapMax: ["behaviour_gap_max_nats", "The largest such distance of an update, in nats"],
  behaviourKl: [
    "behaviour_kl_nats",
    "Estimated KL from the policy that sampled to the learner's, in nats a token",
  ],
} as const satisfies Record<string, readonly [name: string, help: string]>;

/** Key of a record, with labels as in {@link BEHAVIOUR_GAUGES}, that is added to a counter. */
const BEHAVIOUR_TOKENS = "behaviourGapTokens";

const BEHAVIOUR_LABELS = ["precision", "decoder"] as const;

/** What is asked each time that metrics are read. */
export interface LiveNumbers {
  /** Controllers connected now. */
  readonly controllers: number;
  /** Version of the newest weights. */
  readonly policyVersion: number;
}

/** The learner's metrics: a source for `/metrics`, a sink for updates and the server's counters. */
export class LearnerMetrics implements MetricsSource, MetricsSink {
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #updates: Counter;
  readonly #accepted: Counter;
  readonly #duplicates: Counter;
  readonly #malformed: Counter;
  readonly #refused: Counter<"reason">;
  readonly #behaviourGauges = new Map<string, Gauge<(typeof BEHAVIOUR_LABELS)[number]>>();
  readonly #behaviourTokens: Counter<(typeof BEHAVIOUR_LABELS)[number]>;

  /**
   * Metrics with every counter at zero.
   * @param live Asked each time that the metrics are read.
   */
  constructor(live: () => LiveNumbers) {
    const registers = [this.#registry];
    for (const [key, [name, help]] of Object.entries(UPDATE_GAUGES)) {
      this.#gauges.set(key, new Gauge({ name: `tendon_learner_${name}`, help, registers }));
    }
    const counter = (name: string, help: string) =>
      new Counter({ name: `tendon_learner_${name}_total`, help, registers });
    this.#updates = counter("updates", "Updates of the policy");
    this.#accepted = counter("chunks_accepted", "Chunks accepted for training");
    this.#duplicates = counter("chunks_duplicate", "Copies of accepted chunks, dropped");
    this.#malformed = counter("malformed", "Frames or chunks that were not valid");
    this.#refused = new Counter({
      name: "tendon_learner_chunks_refused_total",
      help: "Chunks that were not valid, by what was wrong",
      labelNames: ["reason"],
      registers,
    });
    // From the start, so that the first one of a reason shows as a rise from 0.
    for (const reason of REFUSAL_REASONS) this.#refused.inc({ reason }, 0);
    const labelNames = BEHAVIOUR_LABELS;
    for (const [key, [name, help]] of Object.entries(BEHAVIOUR_GAUGES)) {
      const gauge = new Gauge({ name: `tendon_learner_${name}`, help, labelNames, registers });
      this.#behaviourGauges.set(key, gauge);
    }
    this.#behaviourTokens = new Counter({
      name: "tendon_learner_behaviour_gap_tokens_total",
      help: "Tokens whose recorded log-probabilities were compared",
      labelNames,
      registers,
    });
    new Gauge({
      name: "tendon_learner_controllers",
      help: "Controllers connected",
      registers,
      collect() {
        this.set(live().controllers);
      },
    });
    new Gauge({
      name: "tendon_learner_policy_version",
      help: "Version of the newest weights",
      registers,
      collect() {
        this.set(live().policyVersion);
      },
    });
  }

  /** Media type of Prometheus's text format. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All metrics as text. */
  metrics(): Promise<string> {
    return this.#registry.metrics();
  }

  /**
   * Count chunks accepted.
   * @param chunks How many.
   */
  accepted(chunks: number): void {
    this.#accepted.inc(chunks);
  }

  /**
   * Count copies dropped.
   * @param chunks How many.
   */
  duplicates(chunks: number): void {
    this.#duplicates.inc(chunks);
  }

  /**
   * Count what was not valid.
   * @param items Frames or chunks.
   */
  malformed(items: number): void {
    this.#malformed.inc(items);
  }

  /**
   * Count chunks refused.
   * @param reason What was wrong.
   * @param chunks How many.
   */
  refused(reason: RefusalReason, chunks: number): void {
    this.#refused.inc({ reason }, chunks);
  }

  /**
   * Show an update's numbers.
   * @param _step Number of the update; not shown.
   * @param record Its numbers; see {@link UPDATE_GAUGES} and {@link BEHAVIOUR_GAUGES}.
   */
  log(_step: number, record: MetricsRecord): void {
    this.#updates.inc();
    for (const [key, value] of Object.entries(record)) {
      if (typeof value !== "number") continue;
      const [name, precision, decoder] = key.split(".");
      if (decoder === undefined) this.#gauges.get(key)?.set(value);
      else if (name === BEHAVIOUR_TOKENS) this.#behaviourTokens.inc({ precision, decoder }, value);
      else this.#behaviourGauges.get(name)?.set({ precision, decoder }, value);
    }
  }

  /** Nothing to release. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

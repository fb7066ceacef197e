/**
 * The learner's numbers for Prometheus, in a registry of their own.
 *
 * @module
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { MetricsSource } from "../../common/http/status_app.ts";
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
} as const satisfies Record<string, readonly [name: string, help: string]>;

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
   * Show an update's numbers.
   * @param _step Number of the update; not shown.
   * @param record Its numbers; see {@link UPDATE_GAUGES}.
   */
  log(_step: number, record: MetricsRecord): void {
    this.#updates.inc();
    for (const [key, value] of Object.entries(record)) {
      if (typeof value === "number") this.#gauges.get(key)?.set(value);
    }
  }

  /** Nothing to release. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}

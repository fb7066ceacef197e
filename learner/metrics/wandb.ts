/**
 * Records to Weights & Biases, if the user has an API key and has not said no. Its SDK runs in a
 * worker (see `wandb_worker.ts`); whatever goes wrong there is a warning here.
 *
 * @module
 */
import type { Logger } from "../../common/types.ts";
import type { MetricsRecord, MetricsSink } from "./sink.ts";

/** The address of the public service. */
const DEFAULT_BASE_URL = "https://api.wandb.ai";
/** Records kept for the worker while it connects; later ones are dropped. */
const MAX_EARLY_RECORDS = 1000;

/** What the worker is asked. */
export type WandbRequest =
  | {
    readonly type: "start";
    readonly apiKey: string;
    readonly baseUrl: string;
    readonly project: string;
    readonly name: string;
    readonly config: unknown;
  }
  | { readonly type: "log"; readonly step: number; readonly record: MetricsRecord }
  | { readonly type: "finish" };

/** What the worker answers. */
export type WandbReply =
  | { readonly type: "started" }
  | { readonly type: "finished" }
  | { readonly type: "warning"; readonly text: string }
  | { readonly type: "failed"; readonly text: string };

/** What a W&B sink needs. */
export interface WandbOptions {
  /** The user's key; null, undefined or empty for no sink. */
  readonly apiKey: string | null | undefined;
  /** Whether the user allows it; `--no-wandb` makes it false. */
  readonly isEnabled: boolean;
  /** W&B's project. */
  readonly project: string;
  /** The run's name. */
  readonly name: string;
  /** The whole configuration; must be JSON. */
  readonly config: unknown;
  /** Takes warnings. */
  readonly logger: Logger;
  /** The service's address; default the public one. */
  readonly baseUrl?: string;
  /** How long `close` waits for what is left to be sent; default 10,000 ms. */
  readonly closeTimeoutMs?: number;
}

/**
 * Make a W&B sink if the user wants one.
 * @param options Key, consent and the run.
 * @returns The sink; null without a key or consent, and then nothing of the SDK is loaded.
 */
export function createWandbSink(options: WandbOptions): MetricsSink | null {
  const { apiKey, isEnabled } = options;
  return isEnabled && apiKey ? new WandbSink(options, apiKey) : null;
}

class WandbSink implements MetricsSink {
  readonly #logger: Logger;
  readonly #closeTimeoutMs: number;
  readonly #finished = Promise.withResolvers<void>();
  #worker: Worker | null;
  #hasStarted = false;
  #early = 0;

  constructor(options: WandbOptions, apiKey: string) {
    const { project, name, config, logger, baseUrl = DEFAULT_BASE_URL } = options;
    this.#logger = logger;
    this.#closeTimeoutMs = options.closeTimeoutMs ?? 10_000;
    const worker = new Worker(new URL("./wandb_worker.ts", import.meta.url), {
      type: "module",
      name: "wandb",
    });
    this.#worker = worker;
    worker.onmessage = (event: MessageEvent<WandbReply>) => this.#take(event.data);
    worker.onerror = (event) => {
      // Otherwise the worker's error would end the learner.
      event.preventDefault();
      this.#fail(event.message);
    };
    this.#ask({ type: "start", apiKey, baseUrl, project, name, config });
  }

  log(step: number, record: MetricsRecord): void {
    if (!this.#hasStarted && ++this.#early > MAX_EARLY_RECORDS) return;
    this.#ask({ type: "log", step, record });
  }

  async close(): Promise<void> {
    if (this.#worker === null) return;
    this.#ask({ type: "finish" });
    const timer = setTimeout(() => {
      this.#fail(`it did not finish within ${this.#closeTimeoutMs} ms`);
    }, this.#closeTimeoutMs);
    await this.#finished.promise;
    clearTimeout(timer);
    this.#end();
  }

  #ask(request: WandbRequest): void {
    this.#worker?.postMessage(request);
  }

  #take(reply: WandbReply): void {
    switch (reply.type) {
      case "started":
        this.#hasStarted = true;
        return;
      case "finished":
        return this.#finished.resolve();
      case "warning":
        return this.#logger.warn(`Weights & Biases: ${reply.text}`);
      case "failed":
        return this.#fail(reply.text);
    }
  }

  #fail(reason: string): void {
    if (this.#worker === null) return;
    this.#logger.warn(
      `Weights & Biases stopped taking records: ${reason.split("\n")[0]}; training goes on`,
    );
    this.#end();
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = null;
    this.#finished.resolve();
  }
}

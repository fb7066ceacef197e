/**
 * The main thread's side of the training thread.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { Estimate } from "./ppo/gae.ts";
import type {
  TrainerOptimizer,
  TrainerReady,
  TrainerReply,
  TrainerRequest,
  TrainerUpdated,
} from "./trainer_messages.ts";

/** A policy in a thread of its own. Owner of the thread. */
export class Trainer implements Disposable {
  readonly #worker = new Worker(new URL("./trainer_worker.ts", import.meta.url), {
    type: "module",
  });

  /** Load a policy from a checkpoint. */
  async start(checkpoint: string, reference: string, config: Config): Promise<TrainerReady> {
    return await this.#ask({ kind: "start", checkpoint, reference, config }, "ready");
  }

  /**
   * Improve the policy on chunks.
   * @param options.update Number of the update, which seeds its shuffling.
   * @param options.policyVersion Version of the weights that it starts from.
   * @param options.learningRateScale Fraction of the configured step sizes to use, 0–1.
   */
  async update(
    estimates: readonly Estimate[],
    options: {
      readonly update: number;
      readonly policyVersion: number;
      readonly learningRateScale: number;
    },
  ): Promise<TrainerUpdated> {
    return await this.#ask({ kind: "update", estimates, ...options }, "updated");
  }

  /** The optimiser's state, for a checkpoint. */
  async optimizer(): Promise<TrainerOptimizer> {
    return await this.#ask({ kind: "optimizer" }, "optimizer");
  }

  /** End the thread at once. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  async #ask<K extends TrainerReply["kind"]>(
    request: TrainerRequest,
    expected: K,
  ): Promise<Extract<TrainerReply, { kind: K }>> {
    const { promise, resolve, reject } = Promise.withResolvers<TrainerReply>();
    this.#worker.onmessage = (event: MessageEvent<TrainerReply>) => resolve(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`The training thread failed: ${event.message}`));
    };
    this.#worker.postMessage(request);
    const reply = await promise;
    if (reply.kind === "failed") throw new Error(reply.sentence);
    if (reply.kind !== expected) {
      throw new Error(`The training thread answered ${reply.kind} instead of ${expected}`);
    }
    return reply as Extract<TrainerReply, { kind: K }>;
  }
}

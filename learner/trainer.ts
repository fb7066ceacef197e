/**
 * The main thread's side of the training thread.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { HostTensor, Observation } from "../common/types.ts";
import type { Estimate } from "./ppo/gae.ts";
import type { TrainerState } from "./train_state.ts";
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
  /** All weights by name, as the thread last told them. */
  readonly #weights = new Map<string, HostTensor>();

  /**
   * Load a policy from a checkpoint.
   * @param options.checkpoint Its folder.
   * @param options.reference Folder of the imitation policy that the KL is to.
   * @param options.config The whole configuration.
   * @param options.state What the thread knew, if the run goes on.
   */
  async start(
    options: {
      readonly checkpoint: string;
      readonly reference: string;
      readonly config: Config;
      readonly state?: TrainerState;
    },
  ): Promise<TrainerReady> {
    const ready = await this.#ask({ kind: "start", ...options }, "ready");
    this.#take(ready.weights);
    return ready;
  }

  /**
   * Improve the policy on chunks.
   * @param options.update Number of the update, which seeds its shuffling.
   * @param options.policyVersion Version of the weights that it starts from.
   * @param options.learningRateScale Fraction of the configured step sizes to use, 0–1.
   * @param options.isCriticAlone Train the critic alone.
   * @returns All weights; those that are not trained are the very same tensors as before.
   */
  async update(
    estimates: readonly Estimate[],
    options: {
      readonly update: number;
      readonly policyVersion: number;
      readonly learningRateScale: number;
      readonly isCriticAlone: boolean;
    },
  ): Promise<TrainerUpdated> {
    const updated = await this.#ask({ kind: "update", estimates, ...options }, "updated");
    this.#take(updated.weights);
    return { ...updated, weights: [...this.#weights.values()] };
  }

  #take(weights: readonly HostTensor[]): void {
    for (const tensor of weights) this.#weights.set(tensor.name, tensor);
  }

  /** Say how new observations are, at least 0 each, and learn them. */
  async rateNewness(observations: readonly Observation[]): Promise<Float32Array> {
    return (await this.#ask({ kind: "rate", observations }, "rated")).newness;
  }

  /** All that a checkpoint needs besides the weights. */
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

/**
 * The policy that acts: it takes newer weights between chunks, and comes back when its GPU is lost.
 *
 * @module
 */

import type { DeviceSupervisor } from "../common/device/device_supervisor.ts";
import { GpuLostError } from "../common/device/errors.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { assignWeights } from "../common/policy/load.ts";
import type { NewWeights } from "./control_loop.ts";

/** What an {@link ActingPolicy} works with. */
export interface ActingPolicyOptions {
  /** Loads the policy that the program began with, on the device in force. */
  readonly load: () => Promise<ActorCritic>;
  /** Throws `GpuLostError` if the device is lost, such as `currentGpu()?.check()`. */
  readonly checkDevice: () => void;
  /** Brings the device back. */
  readonly supervisor: DeviceSupervisor;
}

/** Owner of the policy; which one it is changes with the device. */
export class ActingPolicy implements Disposable {
  readonly #options: ActingPolicyOptions;
  readonly #registration: Disposable;
  #policy: ActorCritic;
  #latest: NewWeights | null = null;

  /**
   * Act with a policy.
   *
   * @param policy What `load` gave; it is taken over.
   */
  constructor(policy: ActorCritic, options: ActingPolicyOptions) {
    this.#policy = policy;
    this.#options = options;
    this.#registration = options.supervisor.onRebuilt(() => this.#reload());
  }

  /** The policy as it stands; its device may be lost. */
  get current(): ActorCritic {
    return this.#policy;
  }

  /**
   * Write newer weights into the policy; they are kept, to be written again after a loss. A tensor that
   * is the very same as in the version before is not written: it could be most of a large model.
   */
  assign(weights: NewWeights): void {
    const written = new Set(this.#latest?.tensors);
    this.#latest = weights;
    assignWeights(this.#policy, weights.tensors.filter((tensor) => !written.has(tensor)));
  }

  /**
   * The policy, on a device that was alive a moment ago: brought back first if it was lost.
   *
   * @throws {Error} It cannot be brought back; the sentence says why.
   */
  async ready(): Promise<ActorCritic> {
    try {
      this.#options.checkDevice();
    } catch (error) {
      if (!(error instanceof GpuLostError)) throw error;
      await this.recover(error);
    }
    return this.#policy;
  }

  /** Bring the policy back after a loss. Throws as {@link ready} does. */
  async recover(lost: GpuLostError): Promise<void> {
    await this.#options.supervisor.recover(lost);
  }

  /** Free the policy. */
  [Symbol.dispose](): void {
    this.#registration[Symbol.dispose]();
    this.#policy[Symbol.dispose]();
  }

  async #reload(): Promise<void> {
    // Its tensors are gone, and its room is wanted.
    this.#policy[Symbol.dispose]();
    this.#policy = await this.#options.load();
    if (this.#latest !== null) assignWeights(this.#policy, this.#latest.tensors);
  }
}

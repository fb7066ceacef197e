/**
 * The last good weights and optimiser, kept in memory to go back to.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Variable } from "../../common/policy/tensors.ts";
import type { HostTensor } from "../../common/types.ts";
import type { AdamState } from "./adam_state.ts";

/** A copy of trained weights and of their optimiser, in host memory. */
export class GoodWeights {
  readonly #variables: readonly Variable[];
  readonly #adam: AdamState;
  #kept: {
    readonly weights: readonly Float32Array[];
    readonly moments: readonly HostTensor[];
    readonly steps: number;
  } | null = null;

  /**
   * Nothing is kept yet.
   * @param variables What is trained.
   * @param adam Its optimiser.
   */
  constructor(variables: readonly Variable[], adam: AdamState) {
    this.#variables = variables;
    this.#adam = adam;
  }

  /**
   * Keep the weights as they are, in the place of those kept before; unless a number of theirs is not
   * finite: then nobody wants to come back to them.
   * @returns Whether they are kept.
   */
  async keep(): Promise<boolean> {
    const weights = await Promise.all(
      this.#variables.map(async (variable) => Float32Array.from(await variable.data())),
    );
    const moments = await this.#adam.toHost();
    const isGood = [...weights, ...moments.map(({ data }) => data)].every(isFiniteThroughout);
    if (isGood) this.#kept = { weights, moments, steps: this.#adam.steps };
    return isGood;
  }

  /**
   * Go back to what is kept.
   * @returns False if nothing is.
   */
  restore(): boolean {
    if (this.#kept === null) return false;
    const { weights, moments, steps } = this.#kept;
    this.#variables.forEach((variable, i) => {
      tf.tidy(() => variable.assign(tf.tensor(weights[i], variable.shape)));
    });
    this.#adam.restore(moments, steps);
    return true;
  }
}

function isFiniteThroughout(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(values[i])) return false;
  return true;
}

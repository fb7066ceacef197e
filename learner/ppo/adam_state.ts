/**
 * tfjs's Adam with a state that can be written to a checkpoint and restored.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { HostTensor } from "../../common/types.ts";

/** Adam's settings. */
export interface AdamOptions {
  /** Step size. */
  readonly learningRate: number;
  /** Decay of the mean of gradients. */
  readonly adamBeta1: number;
  /** Decay of the mean of squared gradients. */
  readonly adamBeta2: number;
  /** Offset of the denominator. */
  readonly adamEpsilon: number;
}

/** Adam over a fixed list of variables. Owner of its moments. */
export class AdamState implements Disposable {
  readonly #optimizer: tf.AdamOptimizer;
  readonly #variables: readonly tf.Variable[];
  #steps = 0;

  /** @param variables What will be trained, always in this order. */
  constructor(options: AdamOptions, variables: readonly tf.Variable[]) {
    const { learningRate, adamBeta1, adamBeta2, adamEpsilon } = options;
    this.#optimizer = tf.train.adam(learningRate, adamBeta1, adamBeta2, adamEpsilon);
    this.#variables = variables;
  }

  /** Steps taken, earlier runs included. */
  get steps(): number {
    return this.#steps;
  }

  /** Take one step. The gradients stay the caller's. */
  apply(gradients: tf.NamedTensorMap): void {
    const ordered = this.#variables.map((v) => ({ name: v.name, tensor: gradients[v.name] }));
    this.#optimizer.applyGradients(ordered);
    this.#steps++;
  }

  /** Both moments of every variable, in order, as `moment/<i>`; empty before the first step. */
  async toHost(): Promise<HostTensor[]> {
    if (this.#steps === 0) return [];
    // The first weight is tfjs's own step count, which lives in the metadata here.
    const [, ...moments] = await this.#optimizer.getWeights();
    return Promise.all(moments.map(async ({ tensor }, i) => ({
      name: `moment/${i}`,
      shape: tensor.shape,
      data: Float32Array.from(await tensor.data()),
    })));
  }

  /**
   * Continue from a stored state.
   * @param tensors What {@link AdamState.toHost} gave.
   * @param steps Steps that had been taken.
   * @throws RangeError if the state belongs to other variables.
   */
  async restore(tensors: readonly HostTensor[], steps: number): Promise<void> {
    if (tensors.length !== 2 * this.#variables.length) {
      throw new RangeError(
        `Cannot resume: the optimiser's state has ${tensors.length} tensors, the policy needs ` +
          `${2 * this.#variables.length}`,
      );
    }
    const byName = new Map(tensors.map((t) => [t.name, t]));
    const weights = Array.from(tensors, (_, i) => {
      const tensor = byName.get(`moment/${i}`);
      const variable = this.#variables[i % this.#variables.length];
      if (!tensor || tensor.shape.join() !== variable.shape.join()) {
        throw new RangeError(
          `Cannot resume: moment ${i} of the optimiser has shape [${tensor?.shape}], the policy ` +
            `needs [${variable.shape}]`,
        );
      }
      return { name: variable.name, tensor: tf.tensor(tensor.data, [...tensor.shape]) };
    });
    const iterations = { name: "iter", tensor: tf.scalar(steps, "int32") };
    await this.#optimizer.setWeights([iterations, ...weights]);
    tf.dispose(iterations.tensor);
    this.#steps = steps;
  }

  /** Free the moments. */
  [Symbol.dispose](): void {
    this.#optimizer.dispose();
  }
}

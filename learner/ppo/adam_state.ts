/**
 * Adam (Kingma and Ba, 2015) with a state that can be written to a checkpoint and restored bit for
 * bit. tfjs's own keeps βᵗ as a running float32 product and restores it as a power, which differs.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { HostTensor } from "../../common/types.ts";

/** Adam's settings. */
export interface AdamOptions {
  /** Step size of the backbone. */
  readonly learningRate: number;
  /** Step size of the critic. */
  readonly valueLearningRate: number;
  /** Decay of the mean of gradients. */
  readonly adamBeta1: number;
  /** Decay of the mean of squared gradients. */
  readonly adamBeta2: number;
  /** Offset of the denominator. */
  readonly adamEpsilon: number;
}

/** One tfjs optimiser and what it trains, always in the same order. */
interface Group {
  readonly optimizer: tf.AdamOptimizer;
  readonly variables: readonly tf.Variable[];
}

/** Adam over two groups of variables, backbone and critic. Owner of its moments. */
export class AdamState implements Disposable {
  readonly #groups: readonly Group[];
  #steps = 0;

  /**
   * @param variables All that will be trained.
   * @param critic Those of them that have the critic's step size.
   */
  constructor(
    options: AdamOptions,
    variables: readonly tf.Variable[],
    critic: readonly tf.Variable[],
  ) {
    const { learningRate, valueLearningRate, adamBeta1, adamBeta2, adamEpsilon } = options;
    const group = (rate: number, chosen: readonly tf.Variable[]): Group => ({
      optimizer: tf.train.adam(rate, adamBeta1, adamBeta2, adamEpsilon),
      variables: chosen,
    });
    this.#groups = [
      group(learningRate, variables.filter((v) => !critic.includes(v))),
      group(valueLearningRate, critic),
    ];
  }

  /** Steps taken, earlier runs included. */
  get steps(): number {
    return this.#steps;
  }

  /** Take one step. The gradients stay the caller's. */
  apply(gradients: tf.NamedTensorMap): void {
    for (const { optimizer, variables } of this.#groups) {
      if (variables.length === 0) continue;
      optimizer.applyGradients(
        variables.map((v) => ({ name: v.name, tensor: gradients[v.name] })),
      );
    }
    this.#steps++;
  }

  /** Both moments of every variable as `group/<g>/moment/<i>`; empty before the first step. */
  async toHost(): Promise<HostTensor[]> {
    if (this.#steps === 0) return [];
    const out: HostTensor[] = [];
    for (const [g, { optimizer, variables }] of this.#groups.entries()) {
      if (variables.length === 0) continue;
      // The first weight is tfjs's own step count, which lives in the metadata here.
      const [iterations, ...moments] = await optimizer.getWeights();
      iterations.tensor.dispose();
      for (const [i, { tensor }] of moments.entries()) {
        const data = Float32Array.from(await tensor.data());
        out.push({ name: `group/${g}/moment/${i}`, shape: tensor.shape, data });
      }
    }
    return out;
  }

  /**
   * Continue from a stored state.
   * @param tensors What {@link AdamState.toHost} gave.
   * @param steps Steps that had been taken.
   * @throws RangeError if the state belongs to other variables.
   */
  async restore(tensors: readonly HostTensor[], steps: number): Promise<void> {
    const byName = new Map(tensors.map((t) => [t.name, t]));
    const wanted = this.#groups.reduce((n, group) => n + 2 * group.variables.length, 0);
    if (tensors.length !== wanted) {
      throw new RangeError(
        `Cannot resume: the optimiser's state has ${tensors.length} tensors, the policy needs ` +
          `${wanted}`,
      );
    }
    for (const [g, { optimizer, variables }] of this.#groups.entries()) {
      const moments = [...variables, ...variables].map((variable, i) => {
        const tensor = byName.get(`group/${g}/moment/${i}`);
        if (!tensor || tensor.shape.join() !== variable.shape.join()) {
          throw new RangeError(
            `Cannot resume: moment ${i} of the optimiser's group ${g} has shape ` +
              `[${tensor?.shape}], the policy needs [${variable.shape}]`,
          );
        }
        return { name: variable.name, tensor: tf.tensor(tensor.data, [...tensor.shape]) };
      });
      const iterations = { name: "iter", tensor: tf.scalar(steps, "int32") };
      await optimizer.setWeights([iterations, ...moments]);
      iterations.tensor.dispose();
    }
    this.#steps = steps;
  }

  /** Free the moments. */
  [Symbol.dispose](): void {
    for (const { optimizer } of this.#groups) optimizer.dispose();
  }
}

/**
 * Adam (Kingma and Ba, 2015), with decoupled weight decay if wanted (AdamW: Loshchilov and Hutter,
 * "Decoupled Weight Decay Regularization", 2019). Its state can be written to a checkpoint and restored
 * bit for bit; tfjs's own keeps βᵗ as a running float32 product and restores it as a power, which
 * differs.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { NamedTensorMap, Variable } from "../../common/policy/tensors.ts";
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
  /**
   * λ: before each step a decayed variable is multiplied by 1 − (step size)·λ. 0, or absent, is Adam as
   * it is.
   */
  readonly weightDecay?: number;
}

/**
 * Whether weight decay applies to a variable by default: to matrices. Biases and norms' scales are
 * vectors here, for stacked layers are kept apart; pulling them to 0 would not make a network smoother.
 */
export function isMatrix({ shape }: { readonly shape: readonly number[] }): boolean {
  return shape.length >= 2;
}

/** Adam over backbone and critic, each with its step size. Owner of its moments. */
export class AdamState implements Disposable {
  /** Fraction of the configured step sizes to use from now on, in [0, 1]. */
  learningRateScale: number = 1;
  readonly #options: AdamOptions;
  readonly #variables: readonly Variable[];
  readonly #critic: ReadonlySet<Variable>;
  readonly #isDecayed: (variable: Variable) => boolean;
  /** Means of gradients, then means of their squares; empty before the first step. */
  #moments: Variable[] = [];
  #steps = 0;

  /**
   * No step taken yet.
   * @param variables All that will be trained, always in this order.
   * @param critic Those of them that have the critic's step size.
   * @param isDecayed Those that weight decay applies to, if it is on.
   * @throws RangeError if the weight decay is below 0 or not finite.
   */
  constructor(
    options: AdamOptions,
    variables: readonly Variable[],
    critic: readonly Variable[],
    isDecayed: (variable: Variable) => boolean = isMatrix,
  ) {
    const { weightDecay = 0 } = options;
    if (!(weightDecay >= 0 && Number.isFinite(weightDecay))) {
      throw new RangeError(
        `Cannot optimise: the weight decay is ${weightDecay}, expected a number of at least 0`,
      );
    }
    this.#options = options;
    this.#variables = variables;
    this.#critic = new Set(critic);
    this.#isDecayed = isDecayed;
  }

  /** Steps taken, earlier runs included. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * Take one step. The gradients stay the caller's.
   * @param gradients By variable name; a variable without one stays as it is.
   */
  apply(gradients: NamedTensorMap): void {
    if (this.#moments.length === 0) this.#moments = this.#zeros();
    this.#steps++;
    const { learningRate, valueLearningRate, adamBeta1, adamBeta2, adamEpsilon, weightDecay = 0 } =
      this.#options;
    // Both bias corrections in two numbers, the paper's own rearrangement (end of its section 2).
    const correction2 = Math.sqrt(1 - adamBeta2 ** this.#steps);
    const correction = correction2 / (1 - adamBeta1 ** this.#steps);
    const epsilon = adamEpsilon * correction2;
    const count = this.#variables.length;
    tf.tidy(() => {
      this.#variables.forEach((variable, i) => {
        const gradient = gradients[variable.name];
        if (!gradient) return;
        const rate = this.#critic.has(variable) ? valueLearningRate : learningRate;
        const [mean, square] = [this.#moments[i], this.#moments[count + i]];
        mean.assign(tf.add(tf.mul(mean, adamBeta1), tf.mul(gradient, 1 - adamBeta1)));
        square.assign(
          tf.add(tf.mul(square, adamBeta2), tf.mul(tf.square(gradient), 1 - adamBeta2)),
        );
        const change = tf.div(mean, tf.add(tf.sqrt(square), epsilon));
        const scaled = rate * this.learningRateScale;
        // Not multiplied by 1 where there is no decay: that would cost an operation a variable.
        const kept = weightDecay > 0 && this.#isDecayed(variable)
          ? tf.mul(variable, 1 - scaled * weightDecay)
          : variable;
        variable.assign(tf.sub(kept, tf.mul(change, scaled * correction)));
      });
    });
  }

  /** Both moments of every variable, in order, as `moment/<i>`; empty before the first step. */
  toHost(): Promise<HostTensor[]> {
    return Promise.all(this.#moments.map(async (moment, i) => ({
      name: `moment/${i}`,
      shape: moment.shape,
      data: Float32Array.from(await moment.data()),
    })));
  }

  /**
   * Continue from a stored state.
   * @param tensors What {@link AdamState.toHost} gave; before the first step, nothing.
   * @param steps Steps that had been taken.
   * @throws RangeError if the state belongs to other variables; nothing has changed then.
   */
  restore(tensors: readonly HostTensor[], steps: number): void {
    const count = this.#variables.length;
    if (steps === 0 && tensors.length === 0) {
      this[Symbol.dispose]();
      this.#steps = 0;
      return;
    }
    if (tensors.length !== 2 * count) {
      throw new RangeError(
        `Cannot resume: the optimiser's state has ${tensors.length} tensors, the policy needs ` +
          `${2 * count}`,
      );
    }
    const byName = new Map(tensors.map((t) => [t.name, t]));
    const ordered = tensors.map((_, i) => {
      const tensor = byName.get(`moment/${i}`);
      const { shape } = this.#variables[i % count];
      if (!tensor || tensor.shape.join() !== shape.join()) {
        throw new RangeError(
          `Cannot resume: moment ${i} of the optimiser has shape [${tensor?.shape}], the policy ` +
            `needs [${shape}]`,
        );
      }
      return tensor;
    });
    if (this.#moments.length === 0) this.#moments = this.#zeros();
    this.#moments.forEach((moment, i) => {
      tf.tidy(() => moment.assign(tf.tensor(ordered[i].data, moment.shape)));
    });
    this.#steps = steps;
  }

  #zeros(): Variable[] {
    return [...this.#variables, ...this.#variables].map(({ shape }) =>
      tf.tidy(() => tf.variable(tf.zeros(shape), false))
    );
  }

  /** Free the moments. */
  [Symbol.dispose](): void {
    tf.dispose(this.#moments);
    this.#moments = [];
  }
}

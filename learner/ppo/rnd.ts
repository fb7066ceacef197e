/**
 * Random network distillation (Burda et al., "Exploration by Random Network Distillation", 2018): a
 * reward for what has not been seen before.
 *
 * A fixed random network maps features of an observation to a vector, and a second one is trained to
 * predict that vector. What it predicts badly is new. Features are scaled by their running mean and
 * deviation and clipped to ±5, as in the paper. Errors are divided by their running root mean square;
 * the paper divides by the deviation of their discounted returns, which needs the order of steps that
 * chunks of many robots do not come in.
 *
 * Letters: B observations, F features, E width of the embedding.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor2D, Variable } from "../../common/policy/tensors.ts";
import { normal, type RandomSource } from "../../common/random.ts";
import type { HostTensor } from "../../common/types.ts";
import { AdamState } from "./adam_state.ts";
import { clippedGradients } from "./gradients.ts";
import { type MomentState, RunningMoments } from "./running_moments.ts";

/** Sizes and step size. */
export interface RndOptions {
  /** F, numbers of a feature vector. */
  readonly features: number;
  /** Width of the hidden layers. */
  readonly hidden: number;
  /** E, numbers of the embedding. */
  readonly embedding: number;
  /** Adam's step size for the predictor; 1e-4 in the paper. */
  readonly learningRate: number;
}

/** All that is needed to go on; `tensors` in float32, the rest JSON. */
export interface RndState {
  /** Both networks and Adam's moments. */
  readonly tensors: readonly HostTensor[];
  /** Steps of Adam. */
  readonly steps: number;
  /** Statistics of the features. */
  readonly featureMoments: MomentState;
  /** Mean squared reward seen, and rewards it is over. */
  readonly error: { readonly meanSquare: number; readonly count: number };
}

/** Features are clipped to ± this many deviations; from the paper. */
const MAX_FEATURE = 5;
/** A feature that hardly varies is not blown up into noise. */
const MIN_DEVIATION = 1e-3;
/** Far beyond any gradient of a healthy step. */
const MAX_GRAD_NORM = 10;

/** The fixed network and the predictor. Owner of its variables and its optimiser. */
export class RandomNetworkDistillation implements Disposable {
  readonly #options: RndOptions;
  /** Weights and biases in turn: two layers. */
  readonly #target: Variable[];
  /** The same and one layer more: it must be able to become the target. */
  readonly #predictor: Variable[];
  readonly #adam: AdamState;
  #features: RunningMoments;
  #error = { meanSquare: 0, count: 0 };

  /**
   * Draw both networks.
   * @param options Sizes, all at least 1.
   * @param random Draws the weights; another seed is another measure of newness.
   */
  constructor(options: RndOptions, random: RandomSource) {
    const { features, hidden, embedding, learningRate } = options;
    for (const [name, size] of Object.entries({ features, hidden, embedding })) {
      if (!Number.isInteger(size) || size < 1) {
        throw new RangeError(
          `Cannot build random network distillation: ${name} is ${size}, expected a whole number ` +
            `of at least 1`,
        );
      }
    }
    this.#options = options;
    this.#features = new RunningMoments(features);
    this.#target = makeLayers([features, hidden, embedding], random);
    this.#predictor = makeLayers([features, hidden, hidden, embedding], random);
    this.#adam = new AdamState(
      {
        learningRate,
        valueLearningRate: learningRate,
        adamBeta1: 0.9,
        adamBeta2: 0.999,
        adamEpsilon: 1e-8,
      },
      this.#predictor,
      [],
    );
  }

  /**
   * Newness of observations: squared error of the prediction over the running root mean square of such
   * errors, so about 1 for something as new as what is usual. Changes nothing.
   * @param features `[F]` each.
   * @returns One number of at least 0 an observation.
   */
  async reward(features: readonly ArrayLike<number>[]): Promise<Float32Array> {
    if (features.length === 0) return new Float32Array(0);
    const errors = await this.#errors(features);
    const { meanSquare, count } = this.#error;
    const scale = count > 0 && meanSquare > 0 ? 1 / Math.sqrt(meanSquare) : 1;
    return errors.map((e) => e * scale);
  }

  /**
   * Learn observations: the statistics see them, then the predictor takes one step on them.
   * @param features `[F]` each; none changes nothing.
   * @returns The mean squared error before the step.
   * @throws RangeError if a vector has another length or a number that is not finite.
   */
  async update(features: readonly ArrayLike<number>[]): Promise<number> {
    if (features.length === 0) return 0;
    this.#features.update(features);
    const errors = await this.#errors(features);
    this.#seeErrors(errors);
    const { loss, norm, gradients } = await clippedGradients(
      () => tf.tidy(() => tf.mean(this.#errorTensor(this.#scale(features)))),
      this.#predictor,
      MAX_GRAD_NORM,
    );
    if (Number.isFinite(loss) && Number.isFinite(norm)) this.#adam.apply(gradients);
    tf.dispose(gradients);
    return loss;
  }

  /** All there is to write to a checkpoint. */
  async toHost(): Promise<RndState> {
    const networks = await Promise.all(
      this.#networks().map(async ([name, variable]) => ({
        name,
        shape: variable.shape,
        data: Float32Array.from(await variable.data()),
      })),
    );
    return {
      tensors: [...networks, ...await this.#adam.toHost()],
      steps: this.#adam.steps,
      featureMoments: this.#features.state,
      error: this.#error,
    };
  }

  /**
   * Continue from a stored state, bit for bit.
   * @throws RangeError if it is of other sizes; nothing has changed then.
   */
  restore({ tensors, steps, featureMoments, error }: RndState): void {
    const byName = new Map(tensors.map((t) => [t.name, t]));
    const found = this.#networks().map(([name, variable]) => {
      const tensor = byName.get(name);
      if (!tensor || tensor.shape.join() !== variable.shape.join()) {
        throw new RangeError(
          `Cannot resume random network distillation: ${name} has shape [${tensor?.shape}], expected ` +
            `[${variable.shape}]`,
        );
      }
      return { variable, tensor };
    });
    const moments = new RunningMoments(this.#options.features, featureMoments);
    if (!(Number.isFinite(error.meanSquare) && error.meanSquare >= 0 && error.count >= 0)) {
      throw new RangeError(
        `Cannot resume random network distillation: the mean squared error is ` +
          `${error.meanSquare} over ${error.count} rewards`,
      );
    }
    // Before the first step Adam has no moments, and none were stored.
    const adam = tensors.filter((t) => t.name.startsWith("moment/"));
    this.#adam.restore(steps === 0 ? zeroMoments(this.#predictor) : adam, steps);
    for (const { variable, tensor } of found) {
      tf.tidy(() => variable.assign(tf.tensor(tensor.data, variable.shape)));
    }
    this.#features = moments;
    this.#error = { ...error };
  }

  #networks(): [string, Variable][] {
    return [
      ...this.#target.map((v, i): [string, Variable] => [`target/${i}`, v]),
      ...this.#predictor.map((v, i): [string, Variable] => [`predictor/${i}`, v]),
    ];
  }

  /** Root mean square of all errors so far; a mean over all, so that newness fades as things get old. */
  #seeErrors(errors: Float32Array): void {
    const count = this.#error.count + errors.length;
    const sum = errors.reduce((a, e) => a + e * e, 0);
    const meanSquare = this.#error.meanSquare +
      (sum - errors.length * this.#error.meanSquare) / count;
    if (Number.isFinite(meanSquare)) this.#error = { meanSquare, count };
  }

  async #errors(features: readonly ArrayLike<number>[]): Promise<Float32Array> {
    const errors = tf.tidy(() => this.#errorTensor(this.#scale(features)));
    try {
      return Float32Array.from(await errors.data());
    } finally {
      errors.dispose();
    }
  }

  /** Mean squared difference of both networks' embeddings, `[B]`. */
  #errorTensor(input: Tensor2D) {
    const difference = tf.sub(mlp(input, this.#predictor), mlp(input, this.#target));
    return tf.mean(tf.square(difference), 1);
  }

  /** `[B, F]`, scaled and clipped. */
  #scale(features: readonly ArrayLike<number>[]): Tensor2D {
    const size = this.#options.features;
    const { mean, deviation } = this.#features;
    const data = new Float32Array(features.length * size);
    features.forEach((vector, b) => {
      if (vector.length !== size) {
        throw new RangeError(
          `Cannot rate an observation of ${vector.length} features, expected ${size}`,
        );
      }
      for (let f = 0; f < size; f++) {
        const x = (vector[f] - mean[f]) / Math.max(deviation[f], MIN_DEVIATION);
        data[b * size + f] = Math.max(-MAX_FEATURE, Math.min(MAX_FEATURE, x));
      }
    });
    return tf.tensor2d(data, [features.length, size]);
  }

  /** Free both networks and the optimiser. */
  [Symbol.dispose](): void {
    tf.dispose([...this.#target, ...this.#predictor]);
    this.#adam[Symbol.dispose]();
  }
}

/** Weights and biases in turn. Normal with deviation √(2 / inputs) (He et al., 2015), biases 0. */
function makeLayers(widths: readonly number[], random: RandomSource): Variable[] {
  return tf.tidy(() =>
    widths.slice(1).flatMap((outputs, i) => {
      const inputs = widths[i];
      const deviation = Math.sqrt(2 / inputs);
      const kernel = Float32Array.from(
        { length: inputs * outputs },
        () => deviation * normal(random),
      );
      return [
        tf.variable(tf.tensor2d(kernel, [inputs, outputs])),
        tf.variable(tf.zeros([outputs])),
      ];
    })
  );
}

/** What Adam's moments are before the first step. */
function zeroMoments(variables: readonly Variable[]): HostTensor[] {
  return [...variables, ...variables].map(({ shape, size }, i) => ({
    name: `moment/${i}`,
    shape,
    data: new Float32Array(size),
  }));
}

/** Layers with ReLU between them: tfjs differentiates it on every backend. */
function mlp(input: Tensor2D, layers: readonly Variable[]): Tensor2D {
  let x = input;
  for (let i = 0; i < layers.length; i += 2) {
    const y = tf.add(tf.matMul(x, layers[i] as unknown as Tensor2D), layers[i + 1]) as Tensor2D;
    x = i + 2 < layers.length ? tf.relu(y) : y;
  }
  return x;
}

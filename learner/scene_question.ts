/**
 * A question to the policy while it imitates: where are things?
 *
 * Most of a demonstration can be told from the joints alone, so little of the loss asks for the
 * pictures, and a small policy that has seen no other pictures hardly learns to use them. A linear
 * layer that reads the state before the first action token has to say where things are, and by that
 * the policy learns to look. The layer is thrown away at the end: only what it taught stays. Large
 * models bring this from their pre-training (PaliGemma's has detection among its tasks).
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Scalar, Tensor, Tensor3D, Variable } from "../common/policy/tensors.ts";

/** The layer that answers. Owner of its variables. */
export class SceneQuestion implements Disposable {
  readonly #kernel: Variable;
  readonly #bias: Variable;
  readonly #numbers: number;

  /**
   * Make a layer that says 0.
   * @param width D, width of the states.
   * @param numbers Numbers to answer.
   */
  constructor(width: number, numbers: number) {
    this.#numbers = numbers;
    const zeros = (name: string, shape: number[]) =>
      tf.tidy(() => tf.variable(tf.zeros(shape), true, `scene_question/${name}`));
    this.#kernel = zeros("kernel", [width, numbers]);
    this.#bias = zeros("bias", [numbers]);
  }

  /** What is trained beside the policy. */
  get variables(): Variable[] {
    return [this.#kernel, this.#bias];
  }

  /**
   * Mean squared error of the answers.
   * @param states `[B, T, D]`: hidden states; the first of each row is read.
   * @param truths Each row's numbers, about as large as 1.
   */
  loss(states: Tensor3D, truths: readonly Float32Array[]): Scalar {
    const [batch, , width] = states.shape;
    const first = tf.reshape(tf.slice(states, [0, 0, 0], [-1, 1, -1]), [batch, width]);
    const answers = tf.add(tf.matMul(first, this.#kernel as Tensor as never), this.#bias);
    const flat = new Float32Array(batch * this.#numbers);
    truths.forEach((truth, row) => flat.set(truth, row * this.#numbers));
    const wanted = tf.tensor2d(flat, [batch, this.#numbers]);
    return tf.mean(tf.square(tf.sub(answers, wanted))) as Scalar;
  }

  /** Free the variables. */
  [Symbol.dispose](): void {
    tf.dispose(this.variables);
  }
}

/**
 * Gradients through a block of layers of which only the input is kept: its forward pass is computed a
 * second time when the gradient needs what is inside (Chen et al., "Training Deep Nets with Sublinear
 * Memory Cost", 2016). A third more arithmetic, and the activations of one block at a time instead of
 * all.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor, Variable } from "./tensors.ts";

/**
 * What a block computes: y of x and of constants. It must read variables through its closure, compute
 * the same whenever it is called, and keep no tensor.
 */
export type Block = (x: Tensor, constants: readonly Tensor[]) => Tensor;

/** What tfjs knows while it differentiates. */
type Tape = ReturnType<typeof tf.engine>["state"]["activeTape"];

/**
 * Compute a block so that its gradient computes it again.
 * @param block The block.
 * @param x Its input.
 * @param constants Tensors that it reads and that have no gradient, such as masks; the caller may free
 *   them after the forward pass.
 * @param variables Every variable that it reads and that may be trained: one that is missing here gets
 *   no gradient.
 */
export function recomputed(
  block: Block,
  x: Tensor,
  constants: readonly Tensor[],
  variables: readonly Variable[],
): Tensor {
  const op = tf.customGrad((...args) => {
    const input = args[0] as Tensor;
    const save = args[args.length - 1] as tf.GradSaveFunc;
    save([input, ...constants] as tf.Tensor[]);
    return {
      value: block(input, constants) as tf.Tensor,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [held, ...kept] = saved as Tensor[];
        return differentiate(() => block(held, kept), [held, ...variables], dy) as tf.Tensor[];
      },
    };
  });
  return op(...[x, ...variables] as tf.Tensor[]) as Tensor;
}

/** Gradients of y by each of xs, while another differentiation is under way. */
function differentiate(y: () => Tensor, xs: readonly Tensor[], dy: Tensor): Tensor[] {
  const engine = tf.engine();
  // tfjs has one tape at a time and forgets it at the end of a differentiation: the outer one still
  // needs its own, to free what it saved.
  const outer: Tape = engine.state.activeTape;
  try {
    const { grads } = engine.gradients(
      y as () => tf.Tensor,
      [...xs] as tf.Tensor[],
      dy as tf.Tensor,
      true,
    );
    return grads.map((grad, i) => (grad ?? tf.zerosLike(xs[i])) as Tensor);
  } finally {
    engine.state.activeTape = outer;
  }
}

/**
 * How the policy's arrays are seen as matrices, so that quantisation groups lie along the axis that a
 * product sums over.
 *
 * @module
 */

import { elementCount } from "../checkpoint/safetensors_header.ts";

/** A row-major array seen as a stack of matrices `[outer, contraction, inner]`. */
export interface MatrixLayout {
  /** Matrices: layers, gate and up, keys and values. */
  readonly outer: number;
  /** Length of the axis that a product sums over. */
  readonly contraction: number;
  /** Numbers that share a place on that axis. */
  readonly inner: number;
  /** Leading axes of the array that make `outer`. */
  readonly outerAxes: number;
  /** Axes behind them that make `contraction`. */
  readonly contractionAxes: number;
}

/**
 * Weights that are quantised: the end of their path, their leading stacked axes and how many axes
 * behind those a product sums over. The embedding is read by rows and, as output head, summed over its
 * width. Norms, biases, position embeddings and adapters are small and stay as they are, and so does
 * the patch embedding, which openpi computes in float32.
 */
const MATRICES: readonly (readonly [ending: RegExp, outerAxes: number, contractionAxes: number])[] =
  [
    [/llm\/embedder\/input_embedding$/, 1, 1], // [V, D]
    [/attn\/q_einsum\/w$/, 2, 1], // [L, N, D, K]
    [/attn\/kv_einsum\/w$/, 3, 1], // [L, 2, 1, D, K]
    [/attn\/attn_vec_einsum\/w$/, 1, 2], // [L, N, K, D]
    [/mlp\/gating_einsum$/, 2, 1], // [L, 2, D, F]
    [/mlp\/linear$/, 1, 1], // [L, F, D]
    [/\/(query|key|value)\/kernel$/, 1, 1], // [L, D, N, K]
    [/\/out\/kernel$/, 1, 2], // [L, N, K, D]
    [/\/Dense_[01]\/kernel$/, 1, 1], // [L, in, out]
    [/img\/head\/kernel$/, 0, 1], // [D, out]
  ];

/**
 * How a parameter is seen as matrices.
 *
 * @param name Path with openpi's names.
 * @param shape Its shape.
 * @returns The layout; undefined when it stays in float32.
 */
export function matrixLayout(name: string, shape: readonly number[]): MatrixLayout | undefined {
  const rule = MATRICES.find(([ending]) => ending.test(name));
  if (rule === undefined) return undefined;
  const [, outerAxes, contractionAxes] = rule;
  const behind = outerAxes + contractionAxes;
  return {
    outer: elementCount(shape.slice(0, outerAxes)),
    contraction: elementCount(shape.slice(outerAxes, behind)),
    inner: elementCount(shape.slice(behind)),
    outerAxes,
    contractionAxes,
  };
}

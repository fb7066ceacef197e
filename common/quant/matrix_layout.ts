/**
 * How the policy's arrays are seen as matrices, so that quantisation groups lie along the axis that a
 * product sums over.
 *
 * @module
 */

import { elementCount } from "../checkpoint/safetensors_header.ts";

/**
 * Kinds of the policy's matrices: the token embedding, which is the output head too, attention and MLP
 * of the language model, and attention, MLP and last layer of the image encoder.
 */
export const MATRIX_KINDS = [
  "embedding",
  "attention",
  "mlp",
  "visionAttention",
  "visionMlp",
  "visionHead",
] as const;

/** One of {@link MATRIX_KINDS}. */
export type MatrixKind = (typeof MATRIX_KINDS)[number];

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

/** Where a kind of matrix is found, and how it is seen. */
interface Rule {
  readonly kind: MatrixKind;
  readonly ending: RegExp;
  /** Leading stacked axes. */
  readonly outerAxes: number;
  /** Axes behind those that a product sums over. */
  readonly contractionAxes: number;
}

const rule = (
  kind: MatrixKind,
  ending: RegExp,
  outerAxes: number,
  contractionAxes: number,
): Rule => ({ kind, ending, outerAxes, contractionAxes });

/**
 * Weights that may be quantised. The embedding is read by rows and, as output head, summed over its
 * width. Everything else stays in float32: norms and biases, which are added or multiplied once and
 * are too few to matter; adapters and the value head, which are trained; the patch and position
 * embeddings, which openpi computes in float32 because every image token starts from them.
 */
const MATRICES: readonly Rule[] = [
  rule("embedding", /llm\/embedder\/input_embedding$/, 1, 1), // [V, D]
  rule("attention", /attn\/q_einsum\/w$/, 2, 1), // [L, N, D, K]
  rule("attention", /attn\/kv_einsum\/w$/, 3, 1), // [L, 2, 1, D, K]
  rule("attention", /attn\/attn_vec_einsum\/w$/, 1, 2), // [L, N, K, D]
  rule("mlp", /mlp\/gating_einsum$/, 2, 1), // [L, 2, D, F]
  rule("mlp", /mlp\/linear$/, 1, 1), // [L, F, D]
  rule("visionAttention", /img\/.*\/(query|key|value)\/kernel$/, 1, 1), // [L, D, N, K]
  rule("visionAttention", /img\/.*\/out\/kernel$/, 1, 2), // [L, N, K, D]
  rule("visionMlp", /img\/.*\/Dense_[01]\/kernel$/, 1, 1), // [L, in, out]
  rule("visionHead", /img\/head\/kernel$/, 0, 1), // [D, out]
];

/**
 * How a parameter is seen as matrices.
 *
 * @param name Path with openpi's names.
 * @param shape Its shape.
 * @param kinds Kinds that are quantised.
 * @returns The layout; undefined when it stays in float32.
 */
export function matrixLayout(
  name: string,
  shape: readonly number[],
  kinds: readonly MatrixKind[] = MATRIX_KINDS,
): MatrixLayout | undefined {
  const found = MATRICES.find(({ ending }) => ending.test(name));
  if (found === undefined || !kinds.includes(found.kind)) return undefined;
  const { outerAxes, contractionAxes } = found;
  const behind = outerAxes + contractionAxes;
  return {
    outer: elementCount(shape.slice(0, outerAxes)),
    contraction: elementCount(shape.slice(outerAxes, behind)),
    inner: elementCount(shape.slice(behind)),
    outerAxes,
    contractionAxes,
  };
}

/**
 * The inner loops of attention in WebAssembly with 128-bit vectors, working in the memory of tfjs's
 * backend: softmax of masked rows and its gradient, beside products and transpositions.
 *
 * @module
 */

import { type MatrixLoops, matrixLoops, type Strided } from "./matrix_loops.ts";
import {
  add,
  addF32,
  addF32x4,
  assemble,
  type Binary,
  type Code,
  divF32,
  f32,
  get,
  i32,
  lane,
  loadF32,
  loadV128,
  maxF32,
  maxF32x4,
  mulF32,
  mulF32x4,
  set,
  splat,
  storeF32,
  storeV128,
  subF32,
  subF32x4,
  type WasmFunction,
  whileBelow,
} from "./wasm_assembler.ts";
import { VectorConstants } from "./wasm_constants.ts";
import { exponential } from "./wasm_exp.ts";
import { type MultiplyAdd, multiplyAddHere } from "./wasm_multiply_add.ts";

/** The loops, bound to a memory. */
export interface AttentionLoops extends MatrixLoops {
  /**
   * Softmax of each row plus its mask, in place. `group` rows have the same row of the mask.
   * @param groups How many groups of rows.
   * @param count Numbers of a row.
   */
  softmax(
    scores: Strided,
    mask: Strided,
    size: { readonly groups: number; readonly group: number; readonly count: number },
  ): void;
  /** In place of the gradient of weights, that of the scores which softmax made them of. */
  softmaxGradient(weights: Strided, gradient: Strided, rows: number, count: number): void;
}

const next = (local: number, step: number | Code): Code =>
  set(local, add(get(local), typeof step === "number" ? i32(step) : step));
/** All four lanes by one operation. */
const across = (combine: Binary, v: number): Code =>
  combine(
    combine(lane(get(v), 0), lane(get(v), 1)),
    combine(lane(get(v), 2), lane(get(v), 3)),
  );

/** `softmax(scores, scoresRow, mask, maskRow, groups, group, bytes, whole)`; a row's size in bytes. */
function softmaxFunction(multiplyAdd: MultiplyAdd): WasmFunction {
  const [scores, row, mask, maskRow, groups, group, bytes, whole] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [g, i, k] = [8, 9, 10];
  const [top, sum] = [11, 12];
  const [x, m, total, n, r, e] = [13, 14, 15, 16, 17, 18];
  const here = add(get(scores), get(k));
  const maskHere = add(get(mask), get(k));
  const constants = new VectorConstants(19);
  const exp = exponential(x, n, r, e, { multiplyAdd, constant: constants.of });
  const perRow: Code = [
    // What is no number is not the greatest; but its exponential is none, and so then is the sum.
    ...set(k, i32(0)),
    ...set(m, splat(f32(-Infinity))),
    ...whileBelow(
      k,
      get(whole),
      set(x, addF32x4(loadV128(here), loadV128(maskHere))),
      storeV128(here, get(x)),
      set(m, maxF32x4(get(m), get(x))),
      next(k, 16),
    ),
    ...set(top, across(maxF32, m)),
    ...whileBelow(
      k,
      get(bytes),
      set(sum, addF32(loadF32(here), loadF32(maskHere))),
      storeF32(here, get(sum)),
      set(top, maxF32(get(top), get(sum))),
      next(k, 4),
    ),
    ...set(m, splat(get(top))),
    ...set(total, splat(f32(0))),
    ...set(k, i32(0)),
    ...whileBelow(
      k,
      get(whole),
      set(x, subF32x4(loadV128(here), get(m))),
      exp,
      storeV128(here, get(x)),
      set(total, addF32x4(get(total), get(x))),
      next(k, 16),
    ),
    ...set(sum, across(addF32, total)),
    ...whileBelow(
      k,
      get(bytes),
      set(x, subF32x4(splat(loadF32(here)), get(m))),
      exp,
      storeF32(here, lane(get(x), 0)),
      set(sum, addF32(get(sum), lane(get(x), 0))),
      next(k, 4),
    ),
    ...set(sum, divF32(f32(1), get(sum))),
    ...set(m, splat(get(sum))),
    ...set(k, i32(0)),
    ...whileBelow(
      k,
      get(whole),
      storeV128(here, mulF32x4(loadV128(here), get(m))),
      next(k, 16),
    ),
    ...whileBelow(k, get(bytes), storeF32(here, mulF32(loadF32(here), get(sum))), next(k, 4)),
    ...next(scores, get(row)),
    ...next(i, 1),
  ];
  return {
    name: "softmax",
    parameters: 8,
    locals: { i32: 3, f32: 2, v128: 6 + constants.count },
    body: [
      ...constants.prologue,
      ...whileBelow(
        g,
        get(groups),
        set(i, i32(0)),
        whileBelow(i, get(group), perRow),
        next(mask, get(maskRow)),
        next(g, 1),
      ),
    ],
  };
}

/** `softmaxGradient(weights, weightsRow, gradient, gradientRow, rows, bytes, whole)`. */
const SOFTMAX_GRADIENT: WasmFunction = (() => {
  const [weights, weightsRow, gradient, gradientRow, rows, bytes, whole] = [0, 1, 2, 3, 4, 5, 6];
  const [i, k] = [7, 8];
  const mean = 9;
  const [total] = [10];
  const w = add(get(weights), get(k));
  const d = add(get(gradient), get(k));
  return {
    name: "softmaxGradient",
    parameters: 7,
    locals: { i32: 2, f32: 1, v128: 1 },
    body: whileBelow(
      i,
      get(rows),
      set(k, i32(0)),
      set(total, splat(f32(0))),
      whileBelow(
        k,
        get(whole),
        set(total, addF32x4(get(total), mulF32x4(loadV128(w), loadV128(d)))),
        next(k, 16),
      ),
      set(mean, across(addF32, total)),
      whileBelow(
        k,
        get(bytes),
        set(mean, addF32(get(mean), mulF32(loadF32(w), loadF32(d)))),
        next(k, 4),
      ),
      set(total, splat(get(mean))),
      set(k, i32(0)),
      whileBelow(
        k,
        get(whole),
        storeV128(d, mulF32x4(loadV128(w), subF32x4(loadV128(d), get(total)))),
        next(k, 16),
      ),
      whileBelow(
        k,
        get(bytes),
        storeF32(d, mulF32(loadF32(w), subF32(loadF32(d), get(mean)))),
        next(k, 4),
      ),
      next(weights, get(weightsRow)),
      next(gradient, get(gradientRow)),
      next(i, 1),
    ),
  };
})();

const bound = new WeakMap<WebAssembly.Memory, AttentionLoops>();

/**
 * The loops over a memory; made once for each.
 * @param memory Memory of tfjs's WebAssembly backend.
 */
export function attentionLoops(memory: WebAssembly.Memory): AttentionLoops {
  const known = bound.get(memory);
  if (known) return known;
  const code = assemble([softmaxFunction(multiplyAddHere()), SOFTMAX_GRADIENT]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), { env: { memory } });
  const found = (name: string) => exports[name] as (...args: number[]) => void;
  const [softmax, softmaxGradient] = [found("softmax"), found("softmaxGradient")];
  /** Bytes of a row, and those of them that fill vectors. */
  const bytesOf = (count: number) => [4 * count, 4 * (count & -4)] as const;
  const loops: AttentionLoops = {
    ...matrixLoops(memory),
    softmax: (scores, mask, { groups, group, count }) =>
      softmax(scores.at, scores.row, mask.at, mask.row, groups, group, ...bytesOf(count)),
    softmaxGradient: (weights, gradient, rows, count) =>
      softmaxGradient(weights.at, weights.row, gradient.at, gradient.row, rows, ...bytesOf(count)),
  };
  bound.set(memory, loops);
  return loops;
}

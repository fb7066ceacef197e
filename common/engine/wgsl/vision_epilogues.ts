/**
 * What happens to the outputs of the image encoder's products, in the form that `epilogues.ts` gives
 * them: `store(t, place, row, a, b)` finishes rows `row` (even) and `row + 1` of token t.
 *
 * All add a bias (`[R]`); rows of what they write are padded to a multiple of 32 unless said otherwise.
 *
 * @module
 */

import type { Fragment } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { GELU } from "./gelu.ts";
import { PLACES } from "./shared.ts";

const BIAS = { name: "bias", access: "read", type: "array<f32>" } as const;
const written = (name: string) => ({ name, access: "read_write", type: "array<f32>" }) as const;

/** `store()` from what becomes of one output, `finish(t, row, sum)`. */
function eachOf(rows: number, finish: string): string {
  return `${finish}
fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {
  finish(t, row, a + bias[row]);
  if (row + 1u < ${rows}u) { finish(t, row + 1u, b + bias[row + 1u]); }
}`;
}

/**
 * Queries, keys and values: outputs with their bias.
 *
 * @param rows R.
 * @returns Fragments; they bind `bias` and `out`, `[T, R padded]`.
 */
export function storeBiased(rows: number): Fragment[] {
  return [{
    bindings: [BIAS, written("out")],
    code: eachOf(
      rows,
      `fn finish(t: u32, row: u32, sum: f32) { out[t * ${paddedColumns(rows)}u + row] = sum; }`,
    ),
  }];
}

/**
 * Residual: outputs with their bias are added to what is there.
 *
 * @param rows R.
 * @returns Fragments; they bind `bias` and `residual`, `[T, R padded]`.
 */
export function storeBiasedResidual(rows: number): Fragment[] {
  return [{
    bindings: [BIAS, written("residual")],
    code: eachOf(
      rows,
      `fn finish(t: u32, row: u32, sum: f32) {
  residual[t * ${paddedColumns(rows)}u + row] += sum;
}`,
    ),
  }];
}

/**
 * Hidden units of an MLP: gelu, tanh approximation.
 *
 * @param units R.
 * @returns Fragments; they bind `bias` and `hidden`, `[T, R padded]`.
 */
export function storeGelu(units: number): Fragment[] {
  return [GELU, {
    bindings: [BIAS, written("hidden")],
    code: eachOf(
      units,
      `fn finish(t: u32, row: u32, sum: f32) {
  hidden[t * ${paddedColumns(units)}u + row] = gelu(sum);
}`,
    ),
  }];
}

/**
 * Patch embedding: outputs with their bias and the position embedding of their patch.
 *
 * @param width R.
 * @param tokens Tokens of a picture.
 * @returns Fragments; they bind `places`, `bias`, `positions` (`[tokens, R]`) and `stem`,
 *   `[T, R padded]`.
 */
export function storeStem(width: number, tokens: number): Fragment[] {
  return [PLACES, {
    bindings: [BIAS, { name: "positions", access: "read", type: "array<f32>" }, written("stem")],
    code: eachOf(
      width,
      `fn finish(t: u32, row: u32, sum: f32) {
  let patch_index = places.at[t].position % ${tokens}u;
  stem[t * ${paddedColumns(width)}u + row] = sum + positions[patch_index * ${width}u + row];
}`,
    ),
  }];
}

/**
 * Image tokens: outputs with their bias, each in the row of its camera's patch.
 *
 * @param width R, the language model's.
 * @returns Fragments; they bind `places`, `bias` and `tokens`, `[I, R]` without padding.
 */
export function storeImageTokens(width: number): Fragment[] {
  return [PLACES, {
    bindings: [BIAS, written("tokens")],
    code: eachOf(
      width,
      `fn finish(t: u32, row: u32, sum: f32) {
  tokens[places.at[t].position * ${width}u + row] = sum;
}`,
    ),
  }];
}

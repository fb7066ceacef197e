/**
 * What happens to the outputs of a matrix: every product hands over neighbouring rows in pairs, and
 * these functions finish them. Matrices are packed so that the rows of a pair belong together.
 *
 * All have the form `store(t, place, row, a, b)`: the t-th token of the batch stands at `place` of
 * the cache, and rows `row` (even) and `row + 1` gave a and b. The last pair may be half.
 *
 * @module
 */

import { paddedColumns } from "../packed_rows.ts";
import type { Fragment } from "../kernel.ts";
import { f32, PLACES } from "./shared.ts";

/** Sizes of attention. */
export interface AttentionSize {
  /** N. */
  readonly heads: number;
  /** K, a multiple of 4. */
  readonly headDim: number;
  /** Places of the cache. */
  readonly capacity: number;
}

/**
 * Queries, keys and values: rotate what is rotated, scale the queries, and write keys and values into
 * the cache.
 *
 * Rows are N query heads, the key head and the value head, K each. Rows 2j and 2j + 1 of a query or key
 * head are its elements j and j + K/2, which rotate together.
 *
 * @param size N, K and places.
 * @returns Fragments; they bind `places`, `rope` (cos, sin by position and pair), `q` and `cache`.
 */
export function storeQkv({ heads, headDim, capacity }: AttentionSize): Fragment[] {
  return [PLACES, {
    bindings: [
      { name: "rope", access: "read", type: "array<vec2<f32>>" },
      { name: "q", access: "read_write", type: "array<f32>" },
      { name: "cache", access: "read_write", type: "array<f32>" },
    ],
    code: `
const HEAD = ${headDim}u;
const HALF = ${headDim / 2}u;
const QUERY_ROWS = ${heads * headDim}u;
fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {
  if (row >= QUERY_ROWS + HEAD) {
    let at = (${capacity}u + place) * HEAD + row - QUERY_ROWS - HEAD;
    cache[at] = a;
    cache[at + 1u] = b;
    return;
  }
  let pair = (row % HEAD) / 2u;
  let turn = rope[places.at[place].position * HALF + pair];
  let low = a * turn.x - b * turn.y;
  let high = b * turn.x + a * turn.y;
  if (row < QUERY_ROWS) {
    let at = t * QUERY_ROWS + row - row % HEAD + pair;
    q[at] = low * ${f32(headDim ** -0.5)};
    q[at + HALF] = high * ${f32(headDim ** -0.5)};
  } else {
    cache[place * HEAD + pair] = low;
    cache[place * HEAD + pair + HALF] = high;
  }
}`,
  }];
}

/**
 * Gated MLP: rows 2f and 2f + 1 are gate and up of unit f, which becomes gelu(gate) · up.
 *
 * @param units F.
 * @returns Fragments; they bind `gated`, `[T, F padded]`.
 */
export function storeGated(units: number): Fragment[] {
  // gelu as common/policy/layers.ts has it: a sigmoid, exactly. Held where exp stays finite.
  return [{
    bindings: [{ name: "gated", access: "read_write", type: "array<f32>" }],
    code: `fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {
  let slope = ${f32(2 * Math.sqrt(2 / Math.PI))} * a * (1.0 + 0.044715 * a * a);
  let gate = a / (1.0 + exp(-clamp(slope, -80.0, 80.0)));
  gated[t * ${paddedColumns(units)}u + row / 2u] = gate * b;
}`,
  }];
}

/**
 * Residual: outputs are added to what is there.
 *
 * @param rows R.
 * @returns Fragments; they bind `residual`, `[T, R padded]`.
 */
export function storeResidual(rows: number): Fragment[] {
  return [{
    bindings: [{ name: "residual", access: "read_write", type: "array<f32>" }],
    code: `fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {
  let at = t * ${paddedColumns(rows)}u + row;
  residual[at] += a;
  if (row + 1u < ${rows}u) { residual[at + 1u] += b; }
}`,
  }];
}

/**
 * Outputs as they are.
 *
 * @param rows R.
 * @returns Fragments; they bind `out`, `[T, R padded]`.
 */
export function storePlain(rows: number): Fragment[] {
  return [{
    bindings: [{ name: "out", access: "read_write", type: "array<f32>" }],
    code: `fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {
  let at = t * ${paddedColumns(rows)}u + row;
  out[at] = a;
  if (row + 1u < ${rows}u) { out[at + 1u] = b; }
}`,
  }];
}

/**
 * What happens to the outputs of a matrix: every product hands over neighbouring rows in pairs, and
 * these functions finish them. Matrices are packed so that the rows of a pair belong together.
 *
 * All have the form `store(t, place, row, a, b)`: the t-th token of the batch stands at `place` of
 * the cache, and rows `row` (even) and `row + 1` gave a and b. The last pair may be half. Where the
 * product has an adapter (see adapter.ts), its share is added to a and b first.
 *
 * @module
 */

import { paddedColumns } from "../packed_rows.ts";
import type { Fragment } from "../kernel.ts";
import { GELU } from "./gelu.ts";
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

/** The function `store`, which first adds what the adapter says of both rows. */
function storeFunction(
  body: string,
  adapter?: Fragment,
  shares?: readonly [string, string],
): string {
  if (!adapter || !shares) {
    return `fn store(t: u32, place: u32, row: u32, a: f32, b: f32) {${body}}`;
  }
  return `fn store(t: u32, place: u32, row: u32, plain_a: f32, plain_b: f32) {
  let a = plain_a + adapted(t, ${shares[0]});
  let b = plain_b + adapted(t, ${shares[1]});${body}}`;
}

/** Of products whose rows are one segment. */
const ONE_SEGMENT = ["0u, row", "0u, row + 1u"] as const;

/**
 * Queries, keys and values: rotate what is rotated, scale the queries, and write keys and values into
 * the cache.
 *
 * Rows are N query heads, the key head and the value head, K each. Rows 2j and 2j + 1 of a query or key
 * head are its elements j and j + K/2, which rotate together.
 *
 * @param size N, K and places.
 * @param adapter The product's adapter, a segment a head.
 * @returns Fragments; they bind `places`, `rope` (cos, sin by position and pair), `q` and `cache`.
 */
export function storeQkv(
  { heads, headDim, capacity }: AttentionSize,
  adapter?: Fragment,
): Fragment[] {
  return [PLACES, ...(adapter ? [adapter] : []), {
    bindings: [
      { name: "rope", access: "read", type: "array<vec2<f32>>" },
      { name: "q", access: "read_write", type: "array<f32>" },
      { name: "cache", access: "read_write", type: "array<f32>" },
    ],
    code: `
const HEAD = ${headDim}u;
const HALF = ${headDim / 2}u;
const QUERY_ROWS = ${heads * headDim}u;
// Element of a head that a row is: those of the value head are in order.
fn element_of(row: u32) -> u32 {
  let k = row % HEAD;
  return select(k / 2u + (k % 2u) * HALF, k, row >= QUERY_ROWS + HEAD);
}
${
      storeFunction(
        `
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
`,
        adapter,
        ["row / HEAD, element_of(row)", "row / HEAD, element_of(row + 1u)"],
      )
    }`,
  }];
}

/**
 * Gated MLP: rows 2f and 2f + 1 are gate and up of unit f, which becomes gelu(gate) · up.
 *
 * @param units F.
 * @param adapter The product's adapter, whose segments are gate and up.
 * @returns Fragments; they bind `gated`, `[T, F padded]`.
 */
export function storeGated(units: number, adapter?: Fragment): Fragment[] {
  return [GELU, ...(adapter ? [adapter] : []), {
    bindings: [{ name: "gated", access: "read_write", type: "array<f32>" }],
    code: storeFunction(
      `
  gated[t * ${paddedColumns(units)}u + row / 2u] = gelu(a) * b;
`,
      adapter,
      ["0u, row / 2u", "1u, row / 2u"],
    ),
  }];
}

/**
 * Residual: outputs are added to what is there.
 *
 * @param rows R.
 * @param adapter The product's adapter, one segment.
 * @returns Fragments; they bind `residual`, `[T, R padded]`.
 */
export function storeResidual(rows: number, adapter?: Fragment): Fragment[] {
  return [...(adapter ? [adapter] : []), {
    bindings: [{ name: "residual", access: "read_write", type: "array<f32>" }],
    code: storeFunction(
      `
  let at = t * ${paddedColumns(rows)}u + row;
  residual[at] += a;
  if (row + 1u < ${rows}u) { residual[at + 1u] += b; }
`,
      adapter,
      ONE_SEGMENT,
    ),
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
    code: storeFunction(`
  let at = t * ${paddedColumns(rows)}u + row;
  out[at] = a;
  if (row + 1u < ${rows}u) { out[at + 1u] = b; }
`),
  }];
}

/**
 * Attention of a whole prefix under the prefix-LM mask, with a running softmax: no matrix of scores is
 * ever stored.
 *
 * One key/value head serves all query heads, so the queries of a token are just more rows. A workgroup
 * takes 16 rows and walks the keys 32 at a time; its threads keep the outputs in registers.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { NO_SCORE } from "./attend_split.ts";
import type { AttentionSize } from "./epilogues.ts";
import { binding, PLACES, text } from "./shared.ts";

/** Rows (token, head) of a workgroup. */
export const PREFIX_ROWS = 16;

const KEYS = 32;
const THREADS = 128;

/**
 * The kernel. It binds `places`, `q` (`[T, N, K]`), `cache` (`[2, capacity, K]`), and writes
 * `attended`, `[T, N · K padded]`. A token of the prefix sees the prefix, one behind it sees what is
 * before it and itself; nobody sees a place that is not seen.
 *
 * @param size N, K and places.
 * @returns The kernel; run ⌈T · N / 16⌉ workgroups.
 */
export function attendPrefixKernel({ heads, headDim, capacity }: AttentionSize): Kernel {
  const own = Math.ceil(PREFIX_ROWS * headDim / 4 / THREADS);
  const body = `
const HEADS = ${heads}u;
const HEAD4 = ${headDim / 4}u;
const KEYS = ${KEYS}u;
const ROWS = ${PREFIX_ROWS}u;
var<workgroup> weights: array<f32, ${PREFIX_ROWS * KEYS}>;
var<workgroup> tops: array<f32, ${PREFIX_ROWS}>;
var<workgroup> sums: array<f32, ${PREFIX_ROWS}>;
var<workgroup> fading: array<f32, ${PREFIX_ROWS}>;
fn keys_seen(token: u32) -> u32 {
  return select(token + 1u, places.prefix, token < places.prefix);
}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first = group.x * ROWS;
  let rows = places.tokens * HEADS;
  let last = min(first + ROWS, rows) - 1u;
  let end = min(keys_seen(last / HEADS), places.tokens);
  var out: array<vec4<f32>, ${own}>;
  if (lane < ROWS) {
    tops[lane] = ${NO_SCORE};
    sums[lane] = 0.0;
  }
  for (var key0 = 0u; key0 < end; key0 += KEYS) {
    for (var i = lane; i < ROWS * KEYS; i += ${THREADS}u) {
      let row = min(first + i / KEYS, rows - 1u);
      let key = key0 + i % KEYS;
      var score = ${NO_SCORE};
      if (key < min(keys_seen(row / HEADS), places.tokens) && places.at[key].is_seen != 0u) {
        score = 0.0;
        for (var d = 0u; d < HEAD4; d++) {
          score += dot(q[row * HEAD4 + d], cache[key * HEAD4 + d]);
        }
      }
      weights[i] = score;
    }
    workgroupBarrier();
    if (lane < ROWS) {
      var top = tops[lane];
      for (var k = 0u; k < KEYS; k++) { top = max(top, weights[lane * KEYS + k]); }
      let fade = exp(tops[lane] - top);
      var sum = sums[lane] * fade;
      for (var k = 0u; k < KEYS; k++) {
        let score = weights[lane * KEYS + k];
        let weight = select(exp(score - top), 0.0, score == ${NO_SCORE});
        weights[lane * KEYS + k] = weight;
        sum += weight;
      }
      tops[lane] = top;
      sums[lane] = sum;
      fading[lane] = fade;
    }
    workgroupBarrier();
    let count = min(KEYS, end - key0);
    for (var j = 0u; j < ${own}u; j++) {
      let i = lane + j * ${THREADS}u;
      if (i < ROWS * HEAD4) {
        let row = i / HEAD4;
        var sum = out[j] * fading[row];
        for (var k = 0u; k < count; k++) {
          sum += weights[row * KEYS + k] * cache[(${capacity}u + key0 + k) * HEAD4 + i % HEAD4];
        }
        out[j] = sum;
      }
    }
    workgroupBarrier();
  }
  for (var j = 0u; j < ${own}u; j++) {
    let i = lane + j * ${THREADS}u;
    let row = first + i / HEAD4;
    if (i < ROWS * HEAD4 && row < rows) {
      let at = (row / HEADS) * ${paddedColumns(heads * headDim) / 4}u + (row % HEADS) * HEAD4;
      // A token that sees nothing is padding: nobody reads it, and it must stay finite.
      attended[at + i % HEAD4] = out[j] / max(sums[i / HEAD4], 1e-30);
    }
  }
}`;
  return defineKernel("attend prefix", [
    PLACES,
    binding("q", "read", "array<vec4<f32>>"),
    binding("cache", "read", "array<vec4<f32>>"),
    binding("attended", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

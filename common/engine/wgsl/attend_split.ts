/**
 * Attention of one token over the cache, first half: each workgroup takes a run of keys for all heads.
 *
 * There is one key/value head, so a run of keys is read once and serves every query head. Runs are
 * independent of each other, which keeps a large GPU busy with a single query; what they find is put
 * together by `attend_combine`.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import type { AttentionSize } from "./epilogues.ts";
import { binding, PLACES, STATE, text } from "./shared.ts";

/** Keys of a workgroup. */
export const SPLIT_KEYS = 32;

const THREADS = 128;

/** Below every real score and far above −∞, whose arithmetic GPUs may leave out. */
export const NO_SCORE = "-3e38";

/**
 * The kernel. It binds `state`, `places`, `q` (`[N, K]`), `cache` (`[2, capacity, K]`), and writes
 * `partial` (`[splits, N, K]`) and `stats` (`[splits, N]` of greatest score and sum of weights).
 *
 * @param size N, K and places.
 * @returns The kernel; run ⌈keys / 32⌉ workgroups.
 */
export function attendSplitKernel({ heads, headDim, capacity }: AttentionSize): Kernel {
  const body = `
const HEADS = ${heads}u;
const HEAD4 = ${headDim / 4}u;
const KEYS = ${SPLIT_KEYS}u;
var<workgroup> weights: array<f32, ${heads * SPLIT_KEYS}>;
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let used = state.place + 1u;
  let first = group.x * KEYS;
  if (state.is_done != 0u || first >= used) { return; }
  for (var i = lane; i < HEADS * KEYS; i += ${THREADS}u) {
    let head = i / KEYS;
    let key = first + i % KEYS;
    var score = ${NO_SCORE};
    if (key < used && places.at[min(key, ${capacity - 1}u)].is_seen != 0u) {
      score = 0.0;
      for (var d = 0u; d < HEAD4; d++) {
        score += dot(q[head * HEAD4 + d], cache[key * HEAD4 + d]);
      }
    }
    weights[i] = score;
  }
  workgroupBarrier();
  for (var head = lane; head < HEADS; head += ${THREADS}u) {
    var top = ${NO_SCORE};
    for (var k = 0u; k < KEYS; k++) { top = max(top, weights[head * KEYS + k]); }
    var sum = 0.0;
    for (var k = 0u; k < KEYS; k++) {
      let score = weights[head * KEYS + k];
      let weight = select(exp(score - top), 0.0, score == ${NO_SCORE});
      weights[head * KEYS + k] = weight;
      sum += weight;
    }
    stats[group.x * HEADS + head] = vec2<f32>(top, sum);
  }
  workgroupBarrier();
  let count = min(KEYS, used - first);
  for (var i = lane; i < HEADS * HEAD4; i += ${THREADS}u) {
    let head = i / HEAD4;
    let d = i % HEAD4;
    var sum = vec4<f32>();
    for (var k = 0u; k < count; k++) {
      sum += weights[head * KEYS + k] * cache[(${capacity}u + first + k) * HEAD4 + d];
    }
    partial[group.x * HEADS * HEAD4 + i] = sum;
  }
}`;
  return defineKernel("attend split", [
    STATE,
    PLACES,
    binding("q", "read", "array<vec4<f32>>"),
    binding("cache", "read", "array<vec4<f32>>"),
    binding("partial", "read_write", "array<vec4<f32>>"),
    binding("stats", "read_write", "array<vec2<f32>>"),
    text(body),
  ]);
}

/**
 * Attention of one token over the cache, second half: puts together what runs of keys have found.
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { NO_SCORE, SPLIT_KEYS } from "./attend_split.ts";
import type { AttentionSize } from "./epilogues.ts";
import { binding, STATE, text } from "./shared.ts";

/** Threads of a workgroup, each with four numbers of the output. */
export const COMBINE_THREADS = 64;

/**
 * The kernel. It binds `state`, `partial` and `stats` as `attend_split` writes them, and writes
 * `attended`, `[N · K]`.
 *
 * @param size N and K.
 * @returns The kernel; run ⌈N · K / 4 / 64⌉ workgroups.
 */
export function attendCombineKernel({ heads, headDim }: AttentionSize): Kernel {
  const body = `
const HEADS = ${heads}u;
const HEAD4 = ${headDim / 4}u;
@compute @workgroup_size(${COMBINE_THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (state.is_done != 0u || id.x >= HEADS * HEAD4) { return; }
  let head = id.x / HEAD4;
  let splits = state.place / ${SPLIT_KEYS}u + 1u;
  var top = ${NO_SCORE};
  for (var s = 0u; s < splits; s++) { top = max(top, stats[s * HEADS + head].x); }
  var weight = 0.0;
  var sum = vec4<f32>();
  for (var s = 0u; s < splits; s++) {
    let found = stats[s * HEADS + head];
    let factor = select(exp(found.x - top), 0.0, found.y == 0.0);
    weight += factor * found.y;
    sum += factor * partial[s * HEADS * HEAD4 + id.x];
  }
  attended[id.x] = sum / weight;
}`;
  return defineKernel("attend combine", [
    STATE,
    binding("partial", "read", "array<vec4<f32>>"),
    binding("stats", "read", "array<vec2<f32>>"),
    binding("attended", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

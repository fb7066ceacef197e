/**
 * Embeds tokens: rows of the embedding, dequantised, times √D.
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import type { WeightBits } from "../packed_rows.ts";
import { binding, f32, matrixWords, SHARD, text } from "./shared.ts";

const THREADS = 64;

/**
 * The kernel. It binds `values`, `scales` and `shard` of the embedding `[V, D]`, `ids` (`[0]` how many,
 * `[1]` the place of the first, `[2…]` the ids) and writes `x`, `[T, D padded]`. Rows of other shards
 * are left alone.
 *
 * @param bits Of a weight.
 * @param width D.
 * @returns The kernel; run a workgroup an id.
 */
export function embedKernel(bits: WeightBits, width: number): Kernel {
  const body = `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = ids[2u + group.x];
  if (group.x >= ids[0] || id < shard.first || id >= shard.first + shard.rows) { return; }
  let row = id - shard.first;
  let to = (ids[1] + group.x) * QUADS;
  for (var i = lane; i < QUADS; i += ${THREADS}u) {
    let scale = scale_of(row, i / 8u) * ${f32(Math.sqrt(width))};
    x[to + i] = weights4(values[row * WORDS + i / WORD_QUADS], i % WORD_QUADS) * scale;
  }
}`;
  return defineKernel("embed", [
    matrixWords({ bits, columns: width }),
    SHARD,
    binding("ids", "read", "array<u32>"),
    binding("x", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

/**
 * Product of a packed matrix with many vectors, the same epilogues behind: what a prefill consists of.
 *
 * A workgroup computes 64 tokens × 64 rows. It walks the columns 32 at a time (one scale a row), puts
 * both squares into workgroup memory, already dequantised and transposed, and each of its 128 threads
 * keeps 8 tokens × 4 rows in registers. Both squares together take 16 KiB, which every device has.
 *
 * @module
 */

import { defineKernel, type Fragment, type Kernel } from "../kernel.ts";
import type { WeightBits } from "../packed_rows.ts";
import { binding, matrixWords, PLACES, SHARD, text } from "./shared.ts";
import { storeTile } from "./store_tile.ts";
import { intoSquare, ofToken, range, tilePlaces, TOKENS_PER_THREAD } from "./tile.ts";

export { MATMUL_TILE } from "./tile.ts";

/** What the kernel computes. */
export interface MatmulOptions {
  /** Its name in error messages. */
  readonly label: string;
  /** Bits of a weight. */
  readonly bits: WeightBits;
  /** C. */
  readonly columns: number;
  /** What to do with the outputs. */
  readonly epilogue: readonly Fragment[];
}

/**
 * The kernel. It binds `values`, `scales`, `shard`, `places` (whose `tokens` are the vectors), `x`
 * (`[T, C padded]`, zeros behind C) and what its epilogue says.
 *
 * @param options What it computes.
 * @returns The kernel; run ⌈rows of the shard / 64⌉ × ⌈T / 64⌉ workgroups.
 */
export function matmulKernel({ label, bits, columns, epilogue }: MatmulOptions): Kernel {
  const body = `
var<workgroup> x_square: array<vec4<f32>, 512>; // [column][token / 4]
var<workgroup> w_square: array<vec4<f32>, 512>; // [column][row / 4]
@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  ${tilePlaces()}
  ${range(TOKENS_PER_THREAD).map((i) => `var sum${i} = vec4<f32>();`).join("\n  ")}
  for (var square = 0u; square < QUADS / 8u; square++) {
    let word = (square * 8u + part) / WORD_QUADS;
    ${
    range(4).map((i) =>
      `let w${i} = weights4(values[row${i} * WORDS + word], part % WORD_QUADS) *
      scale_of(row${i}, square);
    let x${i} = x[token${i} * QUADS + square * 8u + part];`
    ).join("\n    ")
  }
    ${intoSquare("w_square", "w", "f32")}
    ${intoSquare("x_square", "x", "f32")}
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let w = w_square[k * 16u + across];
      let low = x_square[k * 16u + down * 2u];
      let high = x_square[k * 16u + down * 2u + 1u];
      ${range(TOKENS_PER_THREAD).map((i) => `sum${i} += ${ofToken(i)} * w;`).join("\n      ")}
    }
    workgroupBarrier();
  }
  let row = first_row + across * 4u;
  ${storeTile(TOKENS_PER_THREAD)}
}`;
  return defineKernel(label, [
    matrixWords({ bits, columns }),
    SHARD,
    PLACES,
    binding("x", "read", "array<vec4<f32>>"),
    ...epilogue,
    text(body),
  ]);
}

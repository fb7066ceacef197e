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

/** Tokens and rows of a workgroup. */
export const MATMUL_TILE = 64;

const TOKENS_PER_THREAD = 8;
const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const LETTERS = ["x", "y", "z", "w"];

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
  const transpose = (from: string) =>
    LETTERS.map((letter) =>
      `vec4<f32>(${range(4).map((i) => `${from}${i}.${letter}`).join(", ")})`
    );
  const into = (square: string, from: string) =>
    transpose(from).map((column, e) => `${square}[(part * 4u + ${e}u) * 16u + quad] = ${column};`)
      .join("\n    ");
  const body = `
var<workgroup> x_square: array<vec4<f32>, 512>; // [column][token / 4]
var<workgroup> w_square: array<vec4<f32>, 512>; // [column][row / 4]
@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let first_row = group.x * ${MATMUL_TILE}u;
  let first_token = group.y * ${MATMUL_TILE}u;
  let quad = lane / 8u;
  let part = lane % 8u;
  ${
    range(4).map((i) =>
      `let row${i} = min(first_row + quad * 4u + ${i}u, shard.rows - 1u);
  let token${i} = min(first_token + quad * 4u + ${i}u, places.tokens - 1u);`
    ).join("\n  ")
  }
  let across = lane % 16u;
  let down = lane / 16u;
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
    ${into("w_square", "w")}
    ${into("x_square", "x")}
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let w = w_square[k * 16u + across];
      let low = x_square[k * 16u + down * 2u];
      let high = x_square[k * 16u + down * 2u + 1u];
      ${
    range(TOKENS_PER_THREAD).map((i) =>
      `sum${i} += ${i < 4 ? "low" : "high"}.${LETTERS[i % 4]} * w;`
    ).join("\n      ")
  }
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

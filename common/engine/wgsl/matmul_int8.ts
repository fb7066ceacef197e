/**
 * The product of `matmul.ts` with vectors that were rounded to 8 bits: four multiplications of integers
 * an instruction (`dot4I8Packed`), sums of a group of 32 exact in int32, scaled and added in float32.
 *
 * Rounding the vectors changes what the policy computes: on random numbers by up to 4.5e-3 of the largest
 * output, against the exact product with the same weights (`products_rounded_test.ts`). Decoding has no
 * such kernel: it waits for memory, and there a weight is one byte however it is multiplied.
 *
 * @module
 */

import type { Bits } from "../../quant/quantized_tensor.ts";
import { defineKernel, type Fragment, type Kernel } from "../kernel.ts";
import { roundedWords } from "./quantize_rows.ts";
import { binding, matrixWords, PLACES, SHARD, text } from "./shared.ts";
import { storeTile } from "./store_tile.ts";
import { MATMUL_TILE, ofToken, range, tilePlaces, TOKENS_PER_THREAD } from "./tile.ts";

const LETTERS = ["x", "y", "z", "w"];

/** What the kernel computes. */
export interface Int8MatmulOptions {
  /** Its name in error messages. */
  readonly label: string;
  /** Bits of a weight. */
  readonly bits: Bits;
  /** C. */
  readonly columns: number;
  /** What to do with the outputs. */
  readonly epilogue: readonly Fragment[];
}

/** Four weights of a row as four bytes. */
const FOUR_WEIGHTS: Readonly<Record<Bits, string>> = {
  8: `fn four_weights(row: u32, quad: u32) -> u32 { return values[row * WORDS + quad]; }`,
  4: `fn four_weights(row: u32, quad: u32) -> u32 {
  let nibbles = (values[row * WORDS + quad / 2u] >> (16u * (quad % 2u))) & 0xffffu;
  let pairs = (nibbles | (nibbles << 8u)) & 0x00ff00ffu;
  let bytes = (pairs | (pairs << 4u)) & 0x0f0f0f0fu;
  return bytes | ((bytes & 0x08080808u) * 0x1eu); // a byte's upper half repeats its sign
}`,
};

/**
 * The kernel. It binds what `matmulKernel` binds, but `x_rounded` in place of `x`: T rows as
 * `quantizeRowsKernel` writes them.
 *
 * @param options What it computes.
 * @returns The kernel; run ⌈rows of the shard / 64⌉ × ⌈T / 64⌉ workgroups.
 */
export function matmulInt8Kernel({ label, bits, columns, epilogue }: Int8MatmulOptions): Kernel {
  const { values, total } = roundedWords(columns);
  const four = (of: (i: number) => string) => range(4).map(of).join(", ");
  const body = `
${FOUR_WEIGHTS[bits]}
var<workgroup> x_square: array<vec4<u32>, 128>; // [four columns][token / 4]
var<workgroup> w_square: array<vec4<u32>, 128>; // [four columns][row / 4]
var<workgroup> x_scales: array<vec4<f32>, ${MATMUL_TILE / 4}>;
var<workgroup> w_scales: array<vec4<f32>, ${MATMUL_TILE / 4}>;
@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  ${tilePlaces()}
  ${range(TOKENS_PER_THREAD).map((i) => `var sum${i} = vec4<f32>();`).join("\n  ")}
  for (var square = 0u; square < QUADS / 8u; square++) {
    let at = square * 8u + part;
    w_square[part * 16u + quad] = vec4<u32>(${four((i) => `four_weights(row${i}, at)`)});
    x_square[part * 16u + quad] = vec4<u32>(${
    four((i) => `x_rounded[token${i} * ${total}u + at]`)
  });
    if (part == 0u) {
      w_scales[quad] = vec4<f32>(${four((i) => `scale_of(row${i}, square)`)});
    } else if (part == 1u) {
      x_scales[quad] = bitcast<vec4<f32>>(vec4<u32>(
        ${four((i) => `x_rounded[token${i} * ${total}u + ${values}u + square]`)}));
    }
    workgroupBarrier();
    ${range(TOKENS_PER_THREAD).map((i) => `var part${i} = vec4<i32>();`).join("\n    ")}
    for (var k = 0u; k < 8u; k++) {
      let w = w_square[k * 16u + across];
      let low = x_square[k * 16u + down * 2u];
      let high = x_square[k * 16u + down * 2u + 1u];
      ${
    range(TOKENS_PER_THREAD).map((i) =>
      `part${i} += vec4<i32>(${
        LETTERS.map((letter) => `dot4I8Packed(${ofToken(i)}, w.${letter})`).join(", ")
      });`
    ).join("\n      ")
  }
    }
    let w_scale = w_scales[across];
    ${
    range(TOKENS_PER_THREAD).map((i) =>
      `sum${i} += vec4<f32>(part${i}) * (w_scale * x_scales[down * 2u + ${Math.floor(i / 4)}u].${
        LETTERS[i % 4]
      });`
    ).join("\n    ")
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
    binding("x_rounded", "read", "array<u32>"),
    ...epilogue,
    text(body),
  ]);
}

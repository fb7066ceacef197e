/**
 * The product of `matmul.ts` with both squares in half precision: half the workgroup memory and, on many
 * GPUs, twice the multiplications a second. Needs `shader-f16`.
 *
 * Weights and vectors are rounded to half precision on the way into workgroup memory; products of 8
 * columns are summed in it, and those sums in float32. On random numbers that is up to 7e-4 of the largest
 * output away from the exact product, with sums of 32 in half precision 1.2e-3
 * (`products_rounded_test.ts`). Half precision ends at 65504, and inside an MLP there may be numbers of that
 * size: vectors are divided by 16, weights multiplied by 4 and sums put right behind, so that numbers up to
 * 10⁶ and sums of 8 products up to 260,000 fit, and vectors of numbers near 10⁻³ keep their digits. What is
 * larger still becomes infinite, which the sampling kernel finds in its logits and stops at.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import type { MatmulOptions } from "./matmul.ts";
import { binding, f32, matrixWords, PLACES, SHARD, text } from "./shared.ts";
import { storeTile } from "./store_tile.ts";
import { intoSquare, ofToken, range, tilePlaces, TOKENS_PER_THREAD } from "./tile.ts";

/** What vectors and weights are multiplied by: powers of 2, so that no digit is lost. */
const X_FACTOR = 1 / 16;
const W_FACTOR = 4;
/** Columns whose products are summed in half precision. */
const RUN = 8;

/**
 * The kernel. It binds what `matmulKernel` binds.
 *
 * @param options What it computes.
 * @returns The kernel; run ⌈rows of the shard / 64⌉ × ⌈T / 64⌉ workgroups.
 */
export function matmulF16Kernel({ label, bits, columns, epilogue }: MatmulOptions): Kernel {
  const multiply = range(RUN).map((k) =>
    `{
        let w = w_square[(run + ${k}u) * 16u + across];
        let low = x_square[(run + ${k}u) * 16u + down * 2u];
        let high = x_square[(run + ${k}u) * 16u + down * 2u + 1u];
        ${
      range(TOKENS_PER_THREAD).map((i) => `part${i} ${k === 0 ? "" : "+"}= ${ofToken(i)} * w;`)
        .join("\n        ")
    }
      }`
  );
  const body = `
var<workgroup> x_square: array<vec4<f16>, 512>; // [column][token / 4]
var<workgroup> w_square: array<vec4<f16>, 512>; // [column][row / 4]
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
      `let w${i} = vec4<f16>(weights4(values[row${i} * WORDS + word], part % WORD_QUADS) *
      (scale_of(row${i}, square) * ${f32(W_FACTOR)}));
    let x${i} = vec4<f16>(x[token${i} * QUADS + square * 8u + part] * ${X_FACTOR});`
    ).join("\n    ")
  }
    ${intoSquare("w_square", "w", "f16")}
    ${intoSquare("x_square", "x", "f16")}
    workgroupBarrier();
    for (var run = 0u; run < 32u; run += ${RUN}u) {
      ${range(TOKENS_PER_THREAD).map((i) => `var part${i} = vec4<f16>();`).join("\n      ")}
      ${multiply.join("\n      ")}
      ${range(TOKENS_PER_THREAD).map((i) => `sum${i} += vec4<f32>(part${i});`).join("\n      ")}
    }
    workgroupBarrier();
  }
  ${range(TOKENS_PER_THREAD).map((i) => `sum${i} *= ${f32(1 / X_FACTOR / W_FACTOR)};`).join("\n  ")}
  let row = first_row + across * 4u;
  ${storeTile(TOKENS_PER_THREAD)}
}`;
  const kernel = defineKernel(label, [
    matrixWords({ bits, columns }),
    SHARD,
    PLACES,
    binding("x", "read", "array<vec4<f32>>"),
    ...epilogue,
    text(body),
  ]);
  return { ...kernel, code: `enable f16;\n${kernel.code}` };
}

/**
 * Rounds vectors to 8 bits in groups of 32, each with a scale of its own: what `matmul_int8.ts`
 * multiplies. A pass of its own, since every workgroup of a product would have to do it again.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { binding, text } from "./shared.ts";

/** Groups of a workgroup. */
export const QUANTIZE_GROUPS = 64;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/**
 * Words of a rounded vector: four integers each, then a float32 scale a group, both padded to multiples
 * of four words.
 *
 * @param columns C.
 */
export function roundedWords(columns: number): { values: number; total: number } {
  const values = paddedColumns(columns) / 4;
  return { values, total: values + 4 * Math.ceil(values / 8 / 4) };
}

/**
 * The kernel. It binds `x` (`[T, C padded]`) and writes `x_rounded`, T rows of {@link roundedWords}.
 * Integers are −127…127; a group with a number that is not finite has that as its scale, so that
 * products with it are not finite either.
 *
 * @param columns C.
 * @returns The kernel; run ⌈groups of a vector / 64⌉ × T workgroups.
 */
export function quantizeRowsKernel(columns: number): Kernel {
  const { values, total } = roundedWords(columns);
  const groups = values / 8;
  const body = `
@compute @workgroup_size(${QUANTIZE_GROUPS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = group.x * ${QUANTIZE_GROUPS}u + lane;
  if (at >= ${groups}u) { return; }
  let begin = group.y * ${values}u + at * 8u;
  ${range(8).map((i) => `let x${i} = x[begin + ${i}u];`).join("\n  ")}
  let most4 = ${range(7).reduce((inner, i) => `max(abs(x${i}), ${inner})`, "abs(x7)")};
  let most = max(max(most4.x, most4.y), max(most4.z, most4.w));
  let inverse = select(0.0, 127.0 / most, most > 0.0);
  var scale = most * ${1 / 127};
  ${
    range(8).map((i) =>
      `for (var c = 0u; c < 4u; c++) {
    if ((bitcast<u32>(x${i}[c]) & 0x7f800000u) == 0x7f800000u) { scale = x${i}[c]; }
  }`
    ).join("\n  ")
  }
  let to = group.y * ${total}u;
  ${
    range(8).map((i) =>
      `x_rounded[to + at * 8u + ${i}u] = pack4xI8Clamp(vec4<i32>(round(x${i} * inverse)));`
    ).join("\n  ")
  }
  x_rounded[to + ${values}u + at] = bitcast<u32>(scale);
}`;
  return defineKernel("round to 8 bits", [
    binding("x", "read", "array<vec4<f32>>"),
    binding("x_rounded", "read_write", "array<u32>"),
    text(body),
  ]);
}

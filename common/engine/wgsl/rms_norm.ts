/**
 * RMSNorm of many vectors, a workgroup each. Decoding has it inside its products.
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { NORM_EPSILON } from "../../policy/variants.ts";
import { paddedColumns } from "../packed_rows.ts";
import { binding, text } from "./shared.ts";

const THREADS = 64;

/**
 * The kernel: x / rms(x) · (1 + norm). It binds `x` (`[T, D padded]`), `norm` (`[D padded]`) and
 * writes `normed` (`[T, D padded]`, zeros behind D where x has them).
 *
 * @param width D.
 * @returns The kernel; run T workgroups.
 */
export function rmsNormKernel(width: number): Kernel {
  const body = `
const WIDTH4 = ${paddedColumns(width) / 4}u;
var<workgroup> partial: array<f32, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = group.x * WIDTH4;
  var sum = 0.0;
  for (var i = lane; i < WIDTH4; i += ${THREADS}u) { sum += dot(x[at + i], x[at + i]); }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let factor = inverseSqrt(partial[0] / f32(${width}) + ${NORM_EPSILON});
  for (var i = lane; i < WIDTH4; i += ${THREADS}u) {
    normed[at + i] = x[at + i] * factor * (1.0 + norm[i]);
  }
}`;
  return defineKernel("rms norm", [
    binding("x", "read", "array<vec4<f32>>"),
    binding("norm", "read", "array<vec4<f32>>"),
    binding("normed", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

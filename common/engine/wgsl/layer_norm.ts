/**
 * LayerNorm of many vectors, a workgroup each: what stands in front of the image encoder's products.
 * @module
 */

import { NORM_EPSILON } from "../../policy/variants.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { binding, text } from "./shared.ts";

const THREADS = 64;

/**
 * The kernel: (x − mean) / √(variance + 1e-6) · scale + bias, as `layerNorm` in
 * `common/policy/layers.ts` has it. It binds `x` (`[T, D padded]`), `norm_scale` and `norm_bias` (`[D]`)
 * and writes the first D of each row of `normed` (`[T, D padded]`).
 *
 * The variance is that of the centred numbers, in a second walk: mean(x²) − mean² would lose its
 * digits where the mean is large.
 *
 * @param width D, a multiple of 4.
 * @returns The kernel; run T workgroups.
 */
export function layerNormKernel(width: number): Kernel {
  const body = `
const WIDTH4 = ${width / 4}u;
const ROW4 = ${paddedColumns(width) / 4}u;
var<workgroup> partial: array<f32, ${THREADS}>;
fn total(lane: u32, own: f32) -> f32 {
  partial[lane] = own;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = group.x * ROW4;
  var own = vec4<f32>();
  for (var i = lane; i < WIDTH4; i += ${THREADS}u) { own += x[at + i]; }
  let mean = total(lane, dot(own, vec4<f32>(1.0))) / f32(${width});
  var squares = 0.0;
  for (var i = lane; i < WIDTH4; i += ${THREADS}u) {
    let centred = x[at + i] - mean;
    squares += dot(centred, centred);
  }
  let factor = inverseSqrt(total(lane, squares) / f32(${width}) + ${NORM_EPSILON});
  for (var i = lane; i < WIDTH4; i += ${THREADS}u) {
    normed[at + i] = (x[at + i] - mean) * factor * norm_scale[i] + norm_bias[i];
  }
}`;
  return defineKernel("layer norm", [
    binding("x", "read", "array<vec4<f32>>"),
    binding("norm_scale", "read", "array<vec4<f32>>"),
    binding("norm_bias", "read", "array<vec4<f32>>"),
    binding("normed", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

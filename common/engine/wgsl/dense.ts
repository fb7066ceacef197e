/**
 * The critic's small products: layers with a bias in float32, as `common/policy/value_head.ts` has them,
 * and the mean over states that the `chunk` critic begins with.
 *
 * @module
 */

import { defineKernel, type Kernel } from "../kernel.ts";
import { GELU } from "./gelu.ts";
import { binding, STATE, text } from "./shared.ts";

/** Outputs of a workgroup. */
export const DENSE_OUTPUTS = 16;
/** Threads of a workgroup that takes the mean, a number each. */
export const MEAN_THREADS = 64;

/** Columns that a workgroup takes at a time. */
const ROWS = 16;
const THREADS = DENSE_OUTPUTS * ROWS;

/** What a layer computes. */
export interface DenseSize {
  /** C: inputs. */
  readonly columns: number;
  /** O: outputs. */
  readonly outputs: number;
  /** gelu of the outputs. */
  readonly isActivated: boolean;
}

/**
 * A layer: x·W + b. It binds `x` (`[C]`), `weights` (`[C, O]`), `bias` (`[O]`) and writes `out`, `[O]`.
 *
 * @param size Sizes.
 * @returns The kernel; run ⌈O / {@link DENSE_OUTPUTS}⌉ workgroups.
 */
export function denseKernel({ columns, outputs, isActivated }: DenseSize): Kernel {
  const body = `
const COLUMNS = ${columns}u;
const OUTPUTS = ${outputs}u;
const ACROSS = ${DENSE_OUTPUTS}u;
var<workgroup> sums: array<f32, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let output = group.x * ACROSS + lane % ACROSS;
  var sum = 0.0;
  for (var c = lane / ACROSS; c < COLUMNS; c += ${ROWS}u) {
    sum += x[c] * weights[c * OUTPUTS + min(output, OUTPUTS - 1u)];
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = ${ROWS / 2}u; half > 0u; half >>= 1u) {
    if (lane < half * ACROSS) { sums[lane] += sums[lane + half * ACROSS]; }
    workgroupBarrier();
  }
  if (lane >= ACROSS || output >= OUTPUTS) { return; }
  let y = sums[lane] + bias[output];
  out[output] = ${isActivated ? "gelu(y)" : "y"};
}`;
  return defineKernel("dense", [
    binding("x", "read", "array<f32>"),
    binding("weights", "read", "array<f32>"),
    binding("bias", "read", "array<f32>"),
    binding("out", "read_write", "array<f32>"),
    ...(isActivated ? [GELU] : []),
    text(body),
  ]);
}

/**
 * Mean over the states of a chunk's first tokens. It binds `state`, `hidden` (`[n, D]`) and writes
 * `mean`, `[D]`.
 *
 * @param steps n: most states that count.
 * @param width D.
 * @returns The kernel; run ⌈D / {@link MEAN_THREADS}⌉ workgroups.
 */
export function meanStatesKernel(steps: number, width: number): Kernel {
  const body = `
@compute @workgroup_size(${MEAN_THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= ${width}u) { return; }
  let used = clamp(state.step, 1u, ${steps}u);
  var sum = 0.0;
  for (var s = 0u; s < used; s++) { sum += hidden[s * ${width}u + id.x]; }
  mean[id.x] = sum / f32(used);
}`;
  return defineKernel("mean of states", [
    STATE,
    binding("hidden", "read", "array<f32>"),
    binding("mean", "read_write", "array<f32>"),
    text(body),
  ]);
}

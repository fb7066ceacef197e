/**
 * Masked log-probabilities for tfjs's WebGPU backend: a workgroup a row, whose threads share its tokens.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  MASKED_LOG_PROB,
  MASKED_LOG_PROB_GRADIENT,
  type MaskedLogProbArgs,
  type MaskedLogProbGradientArgs,
} from "./masked_log_prob_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { GROUP_ID, makeProgram, type Uniform, type WebgpuBackend } from "./webgpu_backend.ts";

const THREADS = 64;
const UNIFORMS = "rows : i32, vocab : i32, inverse : f32,";
const INPUTS = { logits: 1, allowed: 1, tokens: 1 };

/** The kernels by their names. */
export const MASKED_LOG_PROB_WEBGPU: KernelTable = {
  [MASKED_LOG_PROB]: logProb,
  [MASKED_LOG_PROB_GRADIENT]: logProbGradient,
};

function uniformsOf([rows, vocab]: readonly number[], inverse: number): Uniform[] {
  return [
    { type: "int32", data: [rows] },
    { type: "int32", data: [vocab] },
    { type: "float32", data: [inverse] },
  ];
}

function logProb({ inputs, attrs, backend }: MaskedLogProbArgs<WebgpuBackend>): TensorInfo {
  const { logits, allowed, tokens } = inputs;
  const [rows] = logits.shape;
  const program = makeProgram({
    name: "maskedLogProb",
    outputShape: [rows, 2],
    groups: rows,
    workgroupSize: [THREADS, 1, 1],
    inputs: INPUTS,
    uniforms: UNIFORMS,
    code: `
  ${ROW}
  fn main(index : i32) {
    let row = rowOf();
    let sums = sumsOf(row);
    if (localId.x != 0u || !isUsed()) { return; }
    let token = tokens[row];
    let at = row * uniforms.vocab + max(token, 0);
    let logSum = log(sums.y);
    var own = logits[at] * uniforms.inverse - sums.x - logSum;
    if (allowed[at] == 0) { own = -uniforms.INFINITY; }
    result[2 * row] = select(own, 0.0, token < 0);
    result[2 * row + 1] = select(logSum - sums.z / sums.y, 0.0, token < 0);
  }`,
  });
  const uniforms = uniformsOf(logits.shape, attrs.inverse);
  return backend.runWebGPUProgram(program, [logits, allowed, tokens], "float32", uniforms);
}

function logProbGradient(args: MaskedLogProbGradientArgs<WebgpuBackend>): TensorInfo {
  const { inputs: { logits, allowed, tokens, dy }, attrs, backend } = args;
  const program = makeProgram({
    name: "maskedLogProbGradient",
    outputShape: logits.shape,
    groups: logits.shape[0],
    workgroupSize: [THREADS, 1, 1],
    inputs: { ...INPUTS, dy: 1 },
    uniforms: UNIFORMS,
    code: `
  ${ROW}
  fn main(index : i32) {
    let row = rowOf();
    let sums = sumsOf(row);
    if (!isUsed()) { return; }
    let token = tokens[row];
    let logSum = log(sums.y);
    let entropy = logSum - sums.z / sums.y;
    for (var i = i32(localId.x); i < uniforms.vocab; i += ${THREADS}) {
      let at = row * uniforms.vocab + i;
      var found = 0.0;
      if (token >= 0 && allowed[at] != 0) {
        let logProb = logits[at] * uniforms.inverse - sums.x - logSum;
        let p = exp(logProb);
        let slope = dy[2 * row] + dy[2 * row + 1] * (logProb + entropy);
        found = select(-p * slope, 0.0, p == 0.0);
      }
      if (i == token) { found += dy[2 * row]; }
      result[at] = found * uniforms.inverse;
    }
  }`,
  });
  const given = [logits, allowed, tokens, dy];
  return backend.runWebGPUProgram(
    program,
    given,
    "float32",
    uniformsOf(logits.shape, attrs.inverse),
  );
}

/** A row's greatest score, its sum of exponentials, and their sum times how far each is below it. */
const ROW = `
  ${GROUP_ID}
  var<workgroup> parts : array<vec2<f32>, ${THREADS}>;
  fn isUsed() -> bool { return groupId() < uniforms.rows; }
  // More workgroups than rows may run: they do the first row's work, and write nothing.
  fn rowOf() -> i32 { return select(0, groupId(), isUsed()); }
  fn sumsOf(row : i32) -> vec3<f32> {
    var top = -3.4028234e38;
    for (var i = i32(localId.x); i < uniforms.vocab; i += ${THREADS}) {
      let at = row * uniforms.vocab + i;
      if (allowed[at] != 0) { top = max(top, logits[at] * uniforms.inverse); }
    }
    parts[localId.x] = vec2<f32>(top, 0.0);
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
      if (localId.x < half) {
        parts[localId.x].x = max(parts[localId.x].x, parts[localId.x + half].x);
      }
      workgroupBarrier();
    }
    top = parts[0].x;
    workgroupBarrier();
    var sums = vec2<f32>(0.0, 0.0);
    for (var i = i32(localId.x); i < uniforms.vocab; i += ${THREADS}) {
      let at = row * uniforms.vocab + i;
      if (allowed[at] != 0) {
        let z = logits[at] * uniforms.inverse - top;
        let p = exp(z);
        // 0 times minus infinity is not a number; what has no probability has no share.
        sums += vec2<f32>(p, select(p * z, 0.0, p == 0.0));
      }
    }
    parts[localId.x] = sums;
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half > 0u; half /= 2u) {
      if (localId.x < half) { parts[localId.x] += parts[localId.x + half]; }
      workgroupBarrier();
    }
    return vec3<f32>(top, parts[0]);
  }`;

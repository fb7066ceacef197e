/**
 * Masked softmax sampling for tfjs's WebGPU backend: a workgroup a row, of which each thread has a run
 * of tokens that lie side by side. A number falls into one run's share of the sum; that run is walked as
 * the host walks all tokens, so both draw the same.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import { MASKED_SAMPLE, type MaskedSampleArgs } from "./masked_sample_kernel.ts";
import type { KernelTable } from "./register_kernels.ts";
import { GROUP_ID, makeProgram, type Uniform, type WebgpuBackend } from "./webgpu_backend.ts";

const THREADS = 128;

/** The kernel by its name. */
export const MASKED_SAMPLE_WEBGPU: KernelTable = { [MASKED_SAMPLE]: maskedSample };

function maskedSample({ inputs, attrs, backend }: MaskedSampleArgs<WebgpuBackend>): TensorInfo {
  const { logits, allowed, uniforms } = inputs;
  const [batch, vocab] = logits.shape;
  const isGreedy = attrs.temperature === 0;
  const program = makeProgram({
    name: "maskedSample",
    outputShape: [batch, 3],
    groups: batch,
    workgroupSize: [THREADS, 1, 1],
    inputs: { logits: 1, allowed: 1, draws: 1 },
    uniforms: "batch : i32, vocab : i32, isGreedy : i32, inverse : f32,",
    code: CODE,
  });
  const given: Uniform[] = [
    { type: "int32", data: [batch] },
    { type: "int32", data: [vocab] },
    { type: "int32", data: [isGreedy ? 1 : 0] },
    { type: "float32", data: [isGreedy ? 1 : 1 / attrs.temperature] },
  ];
  return backend.runWebGPUProgram(program, [logits, allowed, uniforms], "float32", given);
}

const CODE = `
  ${GROUP_ID}
  struct Best { logit : f32, token : i32 }
  var<workgroup> best : array<Best, ${THREADS}>;
  var<workgroup> sums : array<f32, ${THREADS}>;
  var<workgroup> means : array<f32, ${THREADS}>;
  fn isAllowed(row : i32, token : i32) -> bool {
    let word = u32(allowed[row * ((uniforms.vocab + 31) / 32) + token / 32]);
    return ((word >> u32(token % 32)) & 1u) == 1u;
  }
  // The greater one; of equal ones the first, of which -1 is none.
  fn better(a : Best, b : Best) -> Best {
    let isOther = b.token >= 0 &&
      (a.token < 0 || b.logit > a.logit || (b.logit == a.logit && b.token < a.token));
    if (isOther) { return b; }
    return a;
  }
  fn main(index : i32) {
    let id = groupId();
    let isUsed = id < uniforms.batch;
    let row = select(0, id, isUsed);
    let at = row * uniforms.vocab;
    let thread = i32(localId.x);
    let share = (uniforms.vocab + ${THREADS - 1}) / ${THREADS};
    let first = min(thread * share, uniforms.vocab);
    let end = min(first + share, uniforms.vocab);

    var mine = Best(0.0, -1);
    for (var i = first; i < end; i++) {
      if (isAllowed(row, i)) { mine = better(mine, Best(logits[at + i], i)); }
    }
    best[thread] = mine;
    workgroupBarrier();
    for (var half = ${THREADS / 2}; half > 0; half /= 2) {
      if (thread < half) { best[thread] = better(best[thread], best[thread + half]); }
      workgroupBarrier();
    }
    let top = best[0].logit * uniforms.inverse;

    var sum = 0.0;
    var weighted = 0.0;
    for (var i = first; i < end; i++) {
      if (isAllowed(row, i)) {
        let z = logits[at + i] * uniforms.inverse - top;
        let p = exp(z);
        sum += p;
        // 0 times minus infinity is not a number; what has no probability has no share.
        weighted += select(p * z, 0.0, p == 0.0);
      }
    }
    sums[thread] = sum;
    means[thread] = weighted;
    workgroupBarrier();
    if (thread != 0 || !isUsed) { return; }

    var total = 0.0;
    var mean = 0.0;
    for (var t = 0; t < ${THREADS}; t++) {
      total += sums[t];
      mean += means[t];
    }
    var token = best[0].token;
    if (uniforms.isGreedy == 0 && token >= 0) {
      var left = draws[row] * total;
      var run = 0;
      var isFound = false;
      for (var t = 0; t < ${THREADS} && !isFound; t++) {
        // A run without probability cannot be drawn from, not even when nothing is left.
        if (sums[t] == 0.0) { continue; }
        run = t;
        isFound = left < sums[t];
        if (!isFound) { left -= sums[t]; }
      }
      // What rounding has left over behind all runs goes to the end of the last one.
      if (!isFound) { left = total; }
      let last = min((run + 1) * share, uniforms.vocab);
      for (var i = run * share; i < last; i++) {
        if (!isAllowed(row, i)) { continue; }
        let p = exp(logits[at + i] * uniforms.inverse - top);
        if (p == 0.0) { continue; }
        token = i;
        left -= p;
        if (left < 0.0) { break; }
      }
    }
    let logSum = log(total);
    // A row that allows nothing: its sum is 0, and 0 / 0 is not a number on any device.
    let nothing = select(0.0, uniforms.NAN, token < 0);
    result[3 * row] = f32(token);
    result[3 * row + 1] =
      logits[at + max(token, 0)] * uniforms.inverse - top - logSum + nothing;
    result[3 * row + 2] = logSum - mean / total + nothing;
  }`;

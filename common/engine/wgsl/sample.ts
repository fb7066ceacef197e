/**
 * Draws the next token on the GPU: grammar mask, softmax at a temperature, inverse-CDF draw from a
 * uniform number that was uploaded before; then feeds it: the state moves on, and the token's embedding
 * becomes the next input. `common/policy/sampling.ts` does the same on the host.
 *
 * One workgroup: a FAST vocabulary has a few thousand tokens. Each thread has a run of neighbours, so
 * the order of the draw is the order of the ids, as on the host.
 *
 * @module
 */

import type { GrammarTables } from "../../tokenizer/grammar.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import { grammarFragment } from "./grammar.ts";
import {
  binding,
  f32,
  FAULT,
  type MatrixSize,
  matrixWords,
  STATE_WRITTEN,
  text,
} from "./shared.ts";

const THREADS = 256;

/**
 * The kernel. It binds `state`, `choice` (uniform: 1 / temperature as f32, 1 for greedy), `logits`
 * (`[V]`), `grammar`, `uniforms` (`[S]`), the head's `values` and `scales` (`[V, D]`),
 * and writes `outcomes` (`[S]` of token, log-probability, entropy, 0) and `x` (`[D padded]`).
 *
 * @param tables The grammar's tables; their vocabulary is V.
 * @param head Bits of a weight, and D.
 * @returns The kernel; run one workgroup.
 */
export function sampleKernel(tables: GrammarTables, head: MatrixSize): Kernel {
  const vocab = tables.vocabSize;
  const run = Math.ceil(vocab / THREADS);
  const body = `
struct Choice { inverse_temperature: f32, is_greedy: u32, unused0: u32, unused1: u32 }
struct Best { logit: f32, token: u32 }
const NONE = ${vocab}u;
var<workgroup> shared_state: DecodeState;
var<workgroup> best: array<Best, ${THREADS}>;
var<workgroup> sums: array<vec2<f32>, ${THREADS}>;
var<workgroup> has_fault: atomic<u32>;
var<workgroup> drawn: u32;

fn is_finite(value: f32) -> bool { return (bitcast<u32>(value) & 0x7f800000u) != 0x7f800000u; }

fn may_follow(token: u32) -> bool {
  let effect = effect_of(shared_state.pending, token);
  return is_allowed(effect, shared_state.remaining, shared_state.budget);
}

fn better(a: Best, b: Best) -> bool {
  if (a.token == NONE) { return false; }
  return b.token == NONE || a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// Where a point of the summed weights lies: first the run, then the token in it.
fn draw(uniform_number: f32, total: f32, top: f32) -> u32 {
  var left = uniform_number * total;
  var lane = 0u;
  var last = 0u;
  for (; lane < ${THREADS}u; lane++) {
    if (sums[lane].x > 0.0) {
      if (left < sums[lane].x) { break; }
      last = lane;
      left -= sums[lane].x;
    }
  }
  // Rounding may have left nothing for the last run: then it is its last token.
  if (lane == ${THREADS}u) { lane = last; left = sums[last].x; }
  var token = NONE;
  for (var i = lane * ${run}u; i < min((lane + 1u) * ${run}u, NONE); i++) {
    if (!may_follow(i)) { continue; }
    let p = exp(logits[i] * choice.inverse_temperature - top);
    if (p == 0.0) { continue; }
    token = i;
    left -= p;
    if (left < 0.0) { break; }
  }
  return token;
}

fn finish(token: u32, top: f32, total: f32, weighted: f32) {
  let log_total = log(total);
  let z = logits[token] * choice.inverse_temperature - top;
  outcomes[state.step] = vec4<f32>(
    f32(token), z - log_total, log_total - weighted / total, 0.0);
  let effect = effect_of(shared_state.pending, token);
  let remaining = shared_state.remaining - count_of(effect);
  state.token = token;
  state.remaining = remaining;
  state.pending = pending_after(effect);
  state.budget = shared_state.budget - 1u;
  state.step = shared_state.step + 1u;
  state.place = shared_state.place + 1u;
  if (remaining == 0u && pending_after(effect) == 0u) { state.is_done = 1u; }
}

@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) {
    shared_state = state;
    atomicStore(&has_fault, 0u);
  }
  if (workgroupUniformLoad(&shared_state).is_done != 0u) { return; }
  let begin = lane * ${run}u;
  let end = min(begin + ${run}u, NONE);
  var mine = Best(0.0, NONE);
  for (var i = begin; i < end; i++) {
    if (!may_follow(i)) { continue; }
    let candidate = Best(logits[i], i);
    if (!is_finite(candidate.logit)) { atomicStore(&has_fault, 1u); }
    if (better(candidate, mine)) { mine = candidate; }
  }
  best[lane] = mine;
  workgroupBarrier();
  for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
    if (lane < half && better(best[lane + half], best[lane])) { best[lane] = best[lane + half]; }
    workgroupBarrier();
  }
  let top_token = best[0].token;
  let top = best[0].logit * choice.inverse_temperature;
  var sum = vec2<f32>();
  for (var i = begin; i < end; i++) {
    if (!may_follow(i)) { continue; }
    let z = logits[i] * choice.inverse_temperature - top;
    let p = exp(z);
    sum += vec2<f32>(p, p * z);
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane == 0u) {
    var token = top_token;
    if (atomicLoad(&has_fault) != 0u || top_token == NONE) {
      state.fault = select(${FAULT.notFinite}u, ${FAULT.nothingAllowed}u, top_token == NONE);
      state.is_done = 1u;
      token = NONE;
    } else {
      var total = vec2<f32>();
      for (var i = 0u; i < ${THREADS}u; i++) { total += sums[i]; }
      if (choice.is_greedy == 0u) { token = draw(uniforms[state.step], total.x, top); }
      finish(token, top, total.x, total.y);
    }
    drawn = token;
  }
  let row = workgroupUniformLoad(&drawn);
  if (row == NONE) { return; }
  for (var i = lane; i < QUADS; i += ${THREADS}u) {
    let scale = scale_of(row, i / 8u) * ${f32(Math.sqrt(head.columns))};
    x[i] = weights4(values[row * WORDS + i / WORD_QUADS], i % WORD_QUADS) * scale;
  }
}`;
  return defineKernel("sample", [
    STATE_WRITTEN,
    binding("choice", "uniform", "Choice"),
    binding("logits", "read", "array<f32>"),
    grammarFragment(tables),
    binding("uniforms", "read", "array<f32>"),
    matrixWords(head),
    binding("outcomes", "read_write", "array<vec4<f32>>"),
    binding("x", "read_write", "array<vec4<f32>>"),
    text(body),
  ]);
}

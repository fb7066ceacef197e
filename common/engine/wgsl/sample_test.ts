import assert from "node:assert/strict";
import { seededRandom } from "../../random.ts";
import { drawToken } from "../../policy/sampling.ts";
import { unpackRows } from "../../quant/packed_matrix.ts";
import { ChunkGrammar, type GrammarState } from "../../tokenizer/grammar.ts";
import { fitTokenizer } from "../../tokenizer/testing.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import { paddedColumns } from "../packed_rows.ts";
import { relativeError } from "../reference.ts";
import {
  download,
  hasAdapter,
  noise,
  openTestGpu,
  randomPacked,
  runKernel,
  type TestGpu,
  upload,
} from "../testing.ts";
import { grammarFragment, grammarWords } from "./grammar.ts";
import { sampleKernel } from "./sample.ts";
import { binding, DECODE_STATE, FAULT, text } from "./shared.ts";

const ignore = !await hasAdapter();
// Many characters of two bytes, so that chunks are often cut within one.
const grammar = new ChunkGrammar(fitTokenizer(8, 4, 60, 512), 8, 4);
const tables = grammar.tables();
const V = grammar.vocabSize;
const WIDTH = 40;

/** States of random walks, each with a token that follows it. */
function randomWalks(count: number, seed: number): { state: GrammarState; token: number }[] {
  const random = seededRandom(seed);
  const visited: { state: GrammarState; token: number }[] = [];
  for (let walk = 0; walk < count; walk++) {
    const spare = Math.floor(random() * (walk % 3 === 0 ? 3 : grammar.maxTokens));
    let state = grammar.start(grammar.minTokens + spare);
    while (!grammar.isDone(state)) {
      const allowed = [...grammar.allowed(state).keys()].filter((t) => grammar.allowed(state)[t]);
      const token = allowed[Math.floor(random() * allowed.length)];
      visited.push({ state, token });
      state = grammar.next(state, token);
    }
    visited.push({ state, token: 0 });
  }
  return visited;
}

/** Asks the grammar's functions about whole masks: a workgroup a state, a thread a token. */
function maskKernel(): Kernel {
  return defineKernel("masks", [
    grammarFragment(tables),
    binding("states", "read", "array<vec4<u32>>"),
    binding("masks", "read_write", "array<u32>"),
    text(`@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let s = states[group.x];
  for (var token = lane; token < ${V}u; token += 64u) {
    let effect = effect_of(s.y, token);
    var answer = 0u;
    if (is_allowed(effect, s.x, s.z)) {
      answer = 1u + ((s.x - count_of(effect)) * ${tables.pendings}u + pending_after(effect));
    }
    masks[group.x * ${V}u + token] = answer;
  }
}`),
  ]);
}

Deno.test({
  name: "the grammar on the GPU gives ChunkGrammar's masks along thousands of steps",
  ignore,
  async fn() {
    const visited = randomWalks(300, 1);
    assert.ok(visited.length > 2000, `${visited.length} states`);
    assert.ok(visited.some(({ state }) => state.pending > 0), "unfinished characters");
    using gpu = await openTestGpu();
    const states = visited.flatMap(({ state: s }) => [s.remaining, s.pending, s.budget, 0]);
    const masks = gpu.buffers.storage("masks", 4 * visited.length * V);
    const bound = {
      grammar: upload(gpu, grammarWords(tables)),
      states: upload(gpu, Uint32Array.from(states)),
      masks,
    };
    await runKernel(gpu, maskKernel(), bound, visited.length);
    const answers = new Uint32Array(await download(gpu, masks));
    visited.forEach(({ state, token }, i) => {
      const row = answers.subarray(i * V, (i + 1) * V);
      const mask = Uint8Array.from(row, (answer) => Math.min(answer, 1));
      assert.deepEqual(mask, grammar.allowed(state), JSON.stringify(state));
      if (grammar.isDone(state)) return;
      const next = grammar.next(state, token);
      assert.equal(row[token] - 1, next.remaining * tables.pendings + next.pending);
    });
  },
});

interface Step {
  readonly state: GrammarState;
  readonly logits: Float32Array;
  readonly temperature: number;
  readonly uniform: number;
}

async function sampleOnce(gpu: TestGpu, { state, logits, temperature, uniform }: Step) {
  const packed = randomPacked(2, V, WIDTH);
  const isGreedy = temperature === 0;
  const choice = new Float32Array(4);
  choice[0] = isGreedy ? 1 : 1 / temperature;
  new Uint32Array(choice.buffer)[1] = Number(isGreedy);
  const start = {
    place: 9,
    remaining: state.remaining,
    pending: state.pending,
    budget: state.budget,
  };
  const words = DECODE_STATE.map((word) => word in start ? start[word as keyof typeof start] : 0);
  const bound = {
    state: upload(gpu, Uint32Array.from(words)),
    choice: gpu.buffers.uniform("choice", [...new Uint32Array(choice.buffer)]),
    logits: upload(gpu, logits),
    grammar: upload(gpu, grammarWords(tables)),
    uniforms: upload(gpu, Float32Array.of(uniform)),
    values: upload(gpu, packed.words),
    scales: upload(gpu, packed.scales),
    outcomes: gpu.buffers.storage("outcomes", 16),
    x: gpu.buffers.storage("x", 4 * paddedColumns(WIDTH)),
  };
  await runKernel(gpu, sampleKernel(tables, packed), bound, 1);
  const after = new Uint32Array(await download(gpu, bound.state));
  const [token, logProb, entropy] = new Float32Array(await download(gpu, bound.outcomes));
  const x = new Float32Array(await download(gpu, bound.x)).slice(0, WIDTH);
  const row = new Float32Array(WIDTH);
  unpackRows(packed, token, 1, row);
  const fed = row.map((w) => w * Math.sqrt(WIDTH));
  const word = (name: typeof DECODE_STATE[number]) => after[DECODE_STATE.indexOf(name)];
  return { token, logProb, entropy, x, fed, word };
}

Deno.test({
  name: "sampleKernel() draws, scores and feeds the token that the host would draw",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const random = seededRandom(5);
    const visited = randomWalks(8, 6).filter(({ state }) => !grammar.isDone(state));
    for (const [i, { state }] of visited.slice(0, 24).entries()) {
      const logits = noise(100 + i, V).map((x) => 4 * x);
      const temperature = [0, 1, 0.5][i % 3];
      const uniform = random();
      const drawn = await sampleOnce(gpu, { state, logits, temperature, uniform });
      const expected = drawToken(logits, 0, grammar.allowed(state), temperature, () => uniform);
      assert.equal(drawn.token, expected.token);
      assert.ok(Math.abs(drawn.logProb - expected.logProb) < 1e-4);
      assert.ok(Math.abs(drawn.entropy - expected.entropy) < 1e-4);
      assert.ok(relativeError(drawn.x, drawn.fed) < 1e-5);
      const next = grammar.next(state, expected.token);
      assert.deepEqual(
        (["place", "step", "token", "remaining", "pending", "budget", "is_done"] as const).map(
          drawn.word,
        ),
        [
          10,
          1,
          drawn.token,
          next.remaining,
          next.pending,
          next.budget,
          Number(grammar.isDone(next)),
        ],
      );
    }
  },
});

Deno.test({
  name: "sampleKernel() draws an allowed token at either end of the uniform numbers",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const state = grammar.start(grammar.maxTokens);
    const allowed = [...grammar.allowed(state).keys()].filter((t) => grammar.allowed(state)[t]);
    // All the weight on the first and the last token; what has underflowed is never drawn.
    const logits = new Float32Array(V).fill(-1e4);
    logits[allowed[0]] = logits[allowed.at(-1)!] = 3;
    for (
      const [uniform, token] of [[0, allowed[0]], [0.99999994, allowed.at(-1)], [1, allowed.at(-1)]]
    ) {
      const drawn = await sampleOnce(gpu, { state, logits, temperature: 1, uniform: uniform! });
      assert.equal(drawn.token, token);
      assert.ok(Math.abs(drawn.logProb + Math.log(2)) < 1e-5);
    }
  },
});

Deno.test({
  name: "sampleKernel() stops at a logit that is not finite, or where nothing is allowed",
  ignore,
  async fn() {
    using gpu = await openTestGpu();
    const state = grammar.start(grammar.maxTokens);
    for (const poison of [NaN, Infinity, -Infinity]) {
      const logits = new Float32Array(V);
      logits[grammar.allowed(state).indexOf(1)] = poison;
      const { word } = await sampleOnce(gpu, { state, logits, temperature: 1, uniform: 0.5 });
      assert.deepEqual([word("fault"), word("is_done"), word("step")], [FAULT.notFinite, 1, 0]);
    }
    // No such state can be reached from a start.
    const starved = { ...state, budget: 0 };
    const { word } = await sampleOnce(gpu, {
      state: starved,
      logits: new Float32Array(V),
      temperature: 1,
      uniform: 0.5,
    });
    assert.deepEqual([word("fault"), word("is_done")], [FAULT.nothingAllowed, 1]);
  },
});

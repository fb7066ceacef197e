import assert from "node:assert/strict";
import type { HostTensor } from "../types.ts";
import type { ActorCritic } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import type { ChunkDecoder, DecodedChunk, DecoderInput, DecoderSampling } from "./chunk_decoder.ts";
import { assignWeights, readWeights } from "./load.ts";
import { makeObservations, makePolicy } from "./testing.ts";

const GREEDY = { temperature: 0, random: () => 0 };

/** Answers what it was told to, and remembers what it was asked. */
class ScriptedDecoder implements ChunkDecoder {
  readonly name = "engine";
  readonly description = "a script";
  readonly times = { chunks: 0, chunkMs: 0, visionMs: null, prefillMs: null, decodeMs: null };
  readonly asked: (DecoderInput & Partial<DecoderSampling>)[] = [];
  readonly assigned: HostTensor[] = [];
  value = 0.5;
  isDisposed = false;
  readonly #chunk: DecodedChunk;

  constructor(chunk: DecodedChunk) {
    this.#chunk = chunk;
  }

  sample(input: DecoderInput, sampling: DecoderSampling): Promise<DecodedChunk> {
    this.asked.push({ ...input, ...sampling });
    return Promise.resolve(this.#chunk);
  }

  observationValue(input: DecoderInput): Promise<number> {
    this.asked.push(input);
    return Promise.resolve(this.value);
  }

  check(weights: readonly HostTensor[]): void {
    const stray = weights.find(({ data }) => data.includes(7));
    if (stray) throw new RangeError(`The script has no room for ${stray.name}`);
  }

  assign(weights: readonly HostTensor[]): void {
    this.assigned.push(...weights);
  }

  [Symbol.dispose](): void {
    this.isDisposed = true;
  }
}

/** A policy and a chunk that it could have sampled for an observation. */
async function setUp() {
  await useDevice("cpu");
  const policy = makePolicy();
  const seen = makeObservations(2, 2);
  const [{ tokens, tokenLogProbs }] = await policy.sampleActions(seen.slice(0, 1), GREEDY);
  const entropies = Float32Array.from(tokens, (_, i) => i);
  const chunk = { tokens, logProbs: tokenLogProbs, entropies, value: 2 };
  return { policy, seen, chunk };
}

function actWith(policy: ActorCritic, chunk: DecodedChunk): ScriptedDecoder {
  const decoder = new ScriptedDecoder(chunk);
  policy.useDecoder(decoder);
  return decoder;
}

Deno.test("a decoder is shown one observation at a time, and its chunks become the policy's", async () => {
  const { policy, seen, chunk } = await setUp();
  using _policy = policy;
  const decoder = actWith(policy, {
    ...chunk,
    logProbs: Array.from(chunk.tokens, (_, i) => i ? -2 : 1e-9),
  });
  const chunks = await policy.sampleActions(seen, { temperature: 0.5, random: () => 0.1 });
  assert.equal(chunks.length, 2);
  const [first] = chunks;
  const length = first.tokens.length;
  assert.deepEqual(first.tokens, chunk.tokens);
  assert.deepEqual(first.behaviour, { precision: "float32", decoder: "engine" });
  assert.deepEqual([first.tokenLogProbs[0], first.logProb], [0, -2 * (length - 1)]);
  assert.deepEqual([first.entropy, first.value], [(length - 1) / 2, 2]);
  assert.deepEqual(decoder.asked.map(({ images }) => images), [
    ...seen.map(({ images }) => Object.values(images)),
  ]);
  assert.deepEqual(decoder.asked.map(({ temperature }) => temperature), [0.5, 0.5]);
  const { prompts } = policy.prepareInput(seen).ids;
  assert.deepEqual(decoder.asked.map(({ prompt }) => prompt), prompts);
  assert.deepEqual([...await policy.observationValues(seen)], [0.5, 0.5]);
});

Deno.test("what a broken decoder gives reaches nobody", async () => {
  const { policy, seen, chunk } = await setUp();
  using _policy = policy;
  const cases: [Partial<DecodedChunk>, RegExp][] = [
    [{ value: NaN }, /^NonFiniteError: .+ NaN for the value of a chunk/],
    [
      { logProbs: Array.from(chunk.tokens, () => -Infinity) },
      /-Infinity for the log-probabilities/,
    ],
    [{ logProbs: [NaN] }, /^NonFiniteError/],
    [{ entropies: [Infinity] }, /Infinity for the entropy/],
    [{ tokens: chunk.tokens.slice(0, -1) }, /^RangeError/],
    [{ tokens: [...chunk.tokens, chunk.tokens[0]] }, /^RangeError/],
    [{ tokens: Array.from(chunk.tokens, () => 1e6) }, /^RangeError/],
    [{ tokens: [] }, /^RangeError/],
  ];
  for (const [change, message] of cases) {
    actWith(policy, { ...chunk, ...change });
    await assert.rejects(policy.sampleActions(seen, GREEDY), message);
  }
  const decoder = actWith(policy, chunk);
  decoder.value = NaN;
  await assert.rejects(policy.observationValues(seen), { name: "NonFiniteError" });
});

Deno.test("assignWeights() hands weights on to a decoder by their paths, all or none", async () => {
  const { policy, chunk } = await setUp();
  using _policy = policy;
  const decoder = actWith(policy, chunk);
  const weights = await readWeights(policy);
  const broken = weights.map((tensor, i) =>
    i === 3 ? { ...tensor, data: tensor.data.map(() => 7) } : tensor
  );
  assert.throws(
    () => assignWeights(policy, broken),
    /^RangeError: The script has no room for Pali/,
  );
  assert.equal(decoder.assigned.length, 0);
  assert.deepEqual(await readWeights(policy), weights);
  assignWeights(policy, weights);
  assert.deepEqual(
    decoder.assigned.map(({ name }) => name),
    weights.map(({ name }) => name.replace("actor_backbone/", "")),
  );
});

Deno.test("a decoder goes with its policy, or when another takes its place", async () => {
  const { policy, chunk } = await setUp();
  const first = actWith(policy, chunk);
  const second = actWith(policy, chunk);
  assert.deepEqual([first.isDisposed, second.isDisposed], [true, false]);
  assert.equal(policy.decoder, second);
  policy[Symbol.dispose]();
  assert.equal(second.isDisposed, true);
});

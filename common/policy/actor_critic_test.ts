import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import type { Observation, SampledChunk } from "../types.ts";
import { randomSource } from "../tokenizer/testing.ts";
import { type ActorCritic, selectRows } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import {
  ACTION_DIM,
  countTensors,
  HORIZON,
  makeAssets,
  makeObservations,
  makePolicy,
  maxDifference,
  MICRO,
  MICRO_LORA,
  take,
} from "./testing.ts";

const TOLERANCE = 1e-4;
const BROKEN =
  ", which nothing may act on: its weights are broken, or the device that computes it is";
const TOKEN_IS_NAN = `The policy computed NaN for a token's log-probability${BROKEN}`;
const VALUE_IS_NAN = `The policy computed NaN for the value of a chunk${BROKEN}`;
const tokensOf = (chunks: readonly SampledChunk[]) => chunks.map((chunk) => chunk.tokens);

async function checkRecomputation(
  policy: ActorCritic,
  observations: readonly Observation[],
  chunks: readonly SampledChunk[],
  temperature: number,
): Promise<void> {
  const tokens = tokensOf(chunks);
  const logProb = await policy.computeActionChunkLogProb(observations, tokens, temperature);
  const entropy = await policy.computeActionChunkEntropy(observations, tokens, temperature);
  const value = await policy.computeActionChunkValue(observations, tokens);
  assert.ok(maxDifference(logProb, chunks.map((c) => c.logProb)) < TOLERANCE, "log-probabilities");
  assert.ok(maxDifference(entropy, chunks.map((c) => c.entropy)) < TOLERANCE, "entropies");
  assert.ok(maxDifference(value, chunks.map((c) => c.value)) < TOLERANCE, "values");
}

for (const device of ["cpu", "wasm"] as const) {
  for (const valueInput of ["observation", "chunk"] as const) {
    Deno.test(`what sampleActions() records is what is recomputed, ${valueInput} critic on ${device}`, async () => {
      await useDevice(device);
      const variants = [MICRO_LORA, MICRO, { ...MICRO, decodePositions: "openpi" as const }];
      for (const variant of device === "cpu" ? variants.slice(0, 1) : variants) {
        using policy = makePolicy({ variant, valueInput, maxTokenLen: 52 });
        const observations = makeObservations(1, 5);
        for (const temperature of [1, 0.7]) {
          const options = { temperature, random: randomSource(2) };
          const chunks = await policy.sampleActions(observations, options);
          assert.ok(new Set(chunks.map((c) => c.tokens.length)).size > 1, "lengths differ");
          await checkRecomputation(policy, observations, chunks, temperature);

          // Other company in the batch: the learner's minibatches are not the sampler's batches.
          const mixed = [4, 0, 2];
          await checkRecomputation(
            policy,
            mixed.map((i) => observations[i]),
            mixed.map((i) => chunks[i]),
            temperature,
          );
          await checkRecomputation(policy, [observations[1]], [chunks[1]], temperature);
        }
      }
    });
  }
}

Deno.test("sampleActions() at temperature 0 takes the likeliest token each time", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const observations = makeObservations(3, 3);
  const never = () => assert.fail("greedy decoding draws no numbers");
  const chunks = await policy.sampleActions(observations, { temperature: 0, random: never });
  await checkRecomputation(policy, observations, chunks, 1);

  const prepared = policy.prepareChunks(observations, tokensOf(chunks));
  const logProbs = tf.tidy(() => policy.evaluate(prepared).logProbs);
  const best = tf.tidy(() => tf.argMax(logProbs, 2));
  const steps = logProbs.shape[1];
  const found = await best.data();
  chunks.forEach(({ tokens }, row) =>
    tokens.forEach((token, s) => assert.equal(found[row * steps + s], token))
  );
  tf.dispose([logProbs, best]);
});

Deno.test("sampleActions() decodes the tokens that it reports", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const options = { temperature: 1, random: randomSource(4) };
  for (const chunk of await policy.sampleActions(makeObservations(4, 4), options)) {
    const decoded = policy.assets.fast.decode(chunk.tokens, HORIZON, ACTION_DIM);
    assert.deepEqual(chunk.actions, decoded);
    assert.equal(chunk.actions.length, HORIZON * ACTION_DIM);
  }
  assert.deepEqual(await policy.sampleActions([], options), []);
});

Deno.test("sampleActions() is the same for the same seed and differs for another", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const sample = async (seed: number) =>
    tokensOf(
      await policy.sampleActions(makeObservations(5, 2), {
        temperature: 1,
        random: randomSource(seed),
      }),
    );
  assert.deepEqual(await sample(1), await sample(1));
  assert.notDeepEqual(await sample(1), await sample(2));
});

Deno.test("10,000 chunks sampled with random weights: none is malformed", async () => {
  await useDevice("wasm");
  // One layer of each: what is tested is the sampling, and it is drawn 10,000 times.
  const { siglip, gemma } = MICRO;
  const variant = { ...MICRO, siglip: { ...siglip, depth: 1 }, gemma: { ...gemma, depth: 1 } };
  const distinct = makeObservations(12, 10);
  const observations = Array.from({ length: 100 }, (_, i) => distinct[i % distinct.length]);
  let count = 0;
  let atBudget = 0;
  for (let round = 0; round < 100; round++) {
    // Budgets from one that the longest prompt barely leaves a chunk to more than any can use.
    const spare = round % 10 === 9 ? 28 : round % 10;
    const maxTokenLen = shortestTokenLen(distinct) + spare;
    using policy = makePolicy({ variant, maxTokenLen }, Math.floor(round / 10));
    const options = { temperature: round % 2 ? 1 : 3, random: randomSource(round) };
    const { prompts, forced } = policy.prepareInput(observations).ids;
    (await policy.sampleActions(observations, options)).forEach((chunk, row) => {
      const budget = maxTokenLen - prompts[row].length - forced.length - 2;
      policy.grammar.check(chunk.tokens, budget); // throws if the chunk is malformed or too long
      assert.equal(chunk.actions.length, HORIZON * ACTION_DIM);
      assert.ok(chunk.actions.every(Number.isFinite) && Number.isFinite(chunk.logProb));
      if (chunk.tokens.length === budget) atBudget++;
      count++;
    });
  }
  assert.equal(count, 10_000);
  assert.ok(atBudget > 100, `the budget was met ${atBudget} times`);
});

/** The least maxTokenLen that leaves every one of these prompts a chunk. */
function shortestTokenLen(observations: readonly Observation[]): number {
  using policy = makePolicy();
  const { prompts, forced } = policy.prepareInput(observations).ids;
  const longest = Math.max(...prompts.map((p) => p.length));
  return longest + forced.length + policy.grammar.minTokens + 2; // `|` and EOS
}

Deno.test("image tokens kept from sampling, and rows selected, give the same numbers", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const observations = makeObservations(11, 5);
  const sample = (keepImageTokens: boolean) =>
    policy.sampleActions(observations, {
      temperature: 1,
      random: randomSource(11),
      keepImageTokens,
    });
  const chunks = await sample(true);
  const without = await sample(false);
  assert.deepEqual(without, chunks.map(({ imageTokens: _kept, ...chunk }) => chunk));
  const prepared = policy.prepareChunks(observations, tokensOf(chunks));
  const kept = chunks.map(({ imageTokens }) => imageTokens!);
  assert.deepEqual(await policy.encodeImages(prepared.input), kept);
  const encoded = { ...prepared, input: { ...prepared.input, imageTokens: kept } };
  const rows = [3, 0, 4];
  for (const some of [selectRows(prepared, rows), selectRows(encoded, rows)]) {
    const logProb = tf.tidy(() => policy.evaluate(some).logProb);
    assert.ok(maxDifference(await take(logProb), rows.map((i) => chunks[i].logProb)) < TOLERANCE);
  }
});

Deno.test("prepareChunks() refuses a chunk that leaves the grammar", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const observations = makeObservations(6, 1);
  const [chunk] = await policy.sampleActions(observations, {
    temperature: 1,
    random: randomSource(6),
  });
  const refuse = (tokens: Int32Array, message: RegExp) =>
    assert.throws(() => policy.prepareChunks(observations, [tokens]), {
      name: "RangeError",
      message,
    });
  refuse(chunk.tokens.slice(1), /^Malformed chunk: it ends after \d+ tokens with \d+ of 28 coef/);
  refuse(Int32Array.from([...chunk.tokens, 0]), /^Malformed chunk: token 0 at position \d+ of \d+/);
  refuse(Int32Array.of(policy.network.fastVocab), /^Malformed chunk: token \d+ at position 0 of 1/);
  refuse(Int32Array.of(-1), /^Malformed chunk: token -1 at position 0 of 1/);
  refuse(new Int32Array(0), /^Malformed chunk: it ends after 0 tokens with 28 of 28/);
  assert.throws(() => policy.prepareChunks(observations, []), {
    name: "RangeError",
    message: "Cannot prepare chunks: 1 observations and 0 chunks were given; each needs the " +
      "other, and at least one of both",
  });
});

Deno.test("observations that the policy cannot read are refused, and nothing leaks", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const before = countTensors();
  const options = { temperature: 1, random: randomSource(7) };
  await assert.rejects(policy.sampleActions(makeObservations(7, 1, 56), options), {
    name: "RangeError",
    message: "The policy sees 28×28 pictures, this one is 56×56",
  });
  const [observation] = makeObservations(7, 1);
  const longPrompt = { ...observation, prompt: "reach ".repeat(60) };
  await assert.rejects(policy.sampleActions([longPrompt], options), {
    name: "RangeError",
    message: /^Cannot build the prompt: it takes \d+ tokens .*max_token_len is 64/,
  });
  const noNumber = { ...observation, state: observation.state.map(() => NaN) };
  await assert.rejects(policy.sampleActions([noNumber], options), /is not a number/);
  assert.equal(countTensors(), before);
  using tight = makePolicy({ maxTokenLen: shortestTokenLen([observation]) - 1 });
  await assert.rejects(tight.sampleActions([observation], options), /Cannot decode a chunk in/);
});

Deno.test("a joint outside the statistics is told as the edge of them if the variant says so", async () => {
  await useDevice("wasm");
  using policy = makePolicy({ variant: { ...MICRO, clipsState: true } });
  using asOpenpi = makePolicy();
  const [observation] = makeObservations(8, 1);
  const promptAt = (rad: number, by = policy) =>
    by.prepareInput([{ ...observation, state: observation.state.map(() => rad) }]).ids.prompts;
  assert.deepEqual(promptAt(99), promptAt(1.5001));
  assert.deepEqual(promptAt(-99), promptAt(-1.5));
  assert.deepEqual(promptAt(99, asOpenpi), promptAt(1.5001, asOpenpi));
  assert.notDeepEqual(promptAt(-99, asOpenpi), promptAt(-1.49, asOpenpi), "bin −1, as openpi has");
});

Deno.test("observationValues() equals the values of sampled chunks", async () => {
  await useDevice("wasm");
  for (const valueInput of ["observation", "chunk"] as const) {
    using policy = makePolicy({ valueInput });
    const observations = makeObservations(9, 3);
    const chunks = await policy.sampleActions(observations, {
      temperature: 0,
      random: () => 0,
    });
    const values = await policy.observationValues(observations);
    assert.ok(maxDifference(values, chunks.map((c) => c.value)) < TOLERANCE);
    assert.equal((await policy.observationValues([])).length, 0);
  }
});

Deno.test("a policy whose vocabulary has no room for the action tokens is refused", () => {
  const { vocabSize } = makeAssets().language;
  const variant = { ...MICRO, gemma: { ...MICRO.gemma, vocab: vocabSize + 20 } };
  assert.throws(() => makePolicy({ variant }), {
    name: "RangeError",
    message: `The action tokenizer has ${makeAssets().fast.vocabSize} tokens, but variant micro ` +
      "has room for 12",
  });
});

Deno.test("a policy may let FAST ids stand for words too, as openpi's does, but must embed every word", () => {
  const { vocabSize } = makeAssets().language;
  const shared = { ...MICRO, fastSharesTextIds: true, gemma: { ...MICRO.gemma, vocab: vocabSize } };
  using _policy = makePolicy({ variant: shared });
  const small = { ...shared, gemma: { ...MICRO.gemma, vocab: vocabSize - 2 } };
  assert.throws(() => makePolicy({ variant: small }), {
    name: "RangeError",
    message: `The language tokenizer has ${vocabSize} tokens, but variant micro embeds ` +
      `${vocabSize - 2}: use the tokenizer that its weights were trained with`,
  });
});

for (const valueInput of ["observation", "chunk"] as const) {
  Deno.test(`sampling and training with the ${valueInput} critic leak no tensor`, async () => {
    await useDevice("wasm");
    const start = countTensors();
    {
      using policy = makePolicy({ valueInput });
      const { backbone, valueHead } = policy.network;
      const variables = [...backbone.select(() => true), ...valueHead.select(() => true)];
      assert.equal(countTensors() - start, variables.length, "a policy holds its weights alone");
      const observations = makeObservations(10, 2);
      const random = randomSource(10);
      let chunks: SampledChunk[] = [];
      for (let i = 0; i < 20; i++) {
        chunks = await policy.sampleActions(observations, { temperature: 1, random });
        await policy.observationValues(observations);
      }
      assert.equal(countTensors() - start, variables.length, "after sampling");
      const prepared = policy.prepareChunks(observations, tokensOf(chunks));
      for (let i = 0; i < 20; i++) {
        const { value, grads } = tf.variableGrads(() =>
          tf.tidy(() => {
            const e = policy.evaluate(prepared);
            return tf.sum(tf.add(tf.add(e.logProb, e.entropy), e.value)) as tf.Scalar;
          }), variables);
        tf.dispose([value, grads]);
      }
      await checkRecomputation(policy, observations, chunks, 1);
      assert.equal(countTensors() - start, variables.length, "after training");
    }
    assert.equal(countTensors(), start);
  });
}

Deno.test("sampleActions() lets timers fire in the middle of its work, and changes nothing by it", async () => {
  await useDevice("wasm");
  using policy = makePolicy({ maxTokenLen: 52 });
  const observations = makeObservations(3, 48);
  const sample = () =>
    policy.sampleActions(observations, { temperature: 1, random: randomSource(4) });
  const expected = await sample();
  const before = countTensors();
  let fired = 0;
  const timer = setInterval(() => {
    fired++;
    // Somebody else's tensors come and go meanwhile.
    tf.tidy(() => void tf.add(tf.tensor1d([1, 2]), 1));
  }, 0);
  const start = performance.now();
  const chunks = await sample();
  const tookMs = performance.now() - start;
  clearInterval(timer);
  assert.ok(fired > 0, `no timer fired in the ${tookMs} ms of a batch`);
  assert.deepEqual(chunks, expected);
  assert.equal(countTensors(), before);
});

Deno.test("a NaN weight makes sampleActions() throw one sentence, and a good one mends it", async () => {
  await useDevice("wasm");
  using policy = makePolicy();
  const before = countTensors();
  const options = { temperature: 1, random: randomSource(4) };
  const cases = [
    { store: policy.network.backbone, path: "PaliGemma/llm/final_norm/scale", what: TOKEN_IS_NAN },
    { store: policy.network.valueHead, path: "out/bias", what: VALUE_IS_NAN },
  ];
  for (const { store, path, what } of cases) {
    const good = (await store.toHost()).find(({ name }) => name === path)!;
    store.assign([{ ...good, data: good.data.map(() => NaN) }]);
    const sampling = policy.sampleActions(makeObservations(5, 2), options);
    await assert.rejects(sampling, { name: "NonFiniteError", message: what });
    store.assign([good]);
    assert.equal((await policy.sampleActions(makeObservations(5, 2), options)).length, 2);
  }
  assert.equal(countTensors(), before);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { ByteLevelBpe } from "./bpe.ts";
import { FastTokenizer } from "./fast.ts";
import { ChunkGrammar, type GrammarState } from "./grammar.ts";
import { fitTokenizer, makeChunks, randomSource } from "./testing.ts";

/** How likely a policy is to take an allowed token, relative to the other allowed ones. */
type Weight = (token: number, state: GrammarState) => number;

function sample(
  grammar: ChunkGrammar,
  maxTokens: number,
  random: () => number,
  weight: Weight,
): number[] {
  const tokens: number[] = [];
  const weights = new Float64Array(grammar.vocabSize);
  let state = grammar.start(maxTokens);
  while (!grammar.isDone(state)) {
    const mask = grammar.allowed(state);
    let total = 0;
    for (let token = 0; token < mask.length; token++) {
      weights[token] = mask[token] === 0 ? 0 : weight(token, state);
      total += weights[token];
    }
    assert.ok(total > 0, "a state that is not done allows a token");
    let left = random() * total;
    let chosen = -1;
    for (let token = 0; token < mask.length && left >= 0; token++) {
      if (weights[token] === 0) continue;
      chosen = token;
      left -= weights[token];
    }
    tokens.push(chosen);
    state = grammar.next(state, chosen);
  }
  return tokens;
}

const SETTINGS = [
  { horizon: 4, actionDim: 3, scale: 10, vocabSize: 256 }, // one byte a character
  { horizon: 8, actionDim: 4, scale: 60, vocabSize: 512 }, // two bytes for many
  { horizon: 5, actionDim: 2, scale: 200, vocabSize: 1200 }, // two bytes for most
  { horizon: 10, actionDim: 7, scale: 10, vocabSize: 400 },
];

Deno.test("ChunkGrammar: of 10,000 chunks sampled at random none is malformed", () => {
  const random = randomSource(11);
  for (const { horizon, actionDim, scale, vocabSize } of SETTINGS) {
    const tokenizer = fitTokenizer(horizon, actionDim, scale, vocabSize);
    const grammar = new ChunkGrammar(tokenizer, horizon, actionDim);
    const lengths = Array.from(
      { length: tokenizer.vocabSize },
      (_, token) => tokenizer.bpe.tokenBytes(token).length,
    );
    const isPartial = Array.from(
      { length: tokenizer.vocabSize },
      (_, token) => new TextDecoder().decode(tokenizer.bpe.tokenBytes(token)).includes("\ufffd"),
    );
    const fixed = Float64Array.from(lengths, () => Math.exp(8 * random()));
    const policies: Weight[] = [
      () => 1, // uniform
      (token) => fixed[token], // a random, peaked policy
      (token) => isPartial[token] ? 1e6 : 1, // adores unfinished characters
      (token) => Math.exp(-4 * lengths[token]), // dawdles
      (token) => Math.exp(2 * Math.min(lengths[token], 20)), // rushes
    ];
    const middle = Math.round((grammar.minTokens + horizon * actionDim) / 2);
    const budgets = [grammar.minTokens, grammar.minTokens + 1, middle, grammar.maxTokens];
    for (let i = 0; i < 2500; i++) {
      const maxTokens = budgets[i % budgets.length];
      const policy = policies[Math.floor(i / budgets.length) % policies.length];
      const tokens = sample(grammar, maxTokens, random, policy);
      assert.ok(tokens.length <= maxTokens);
      assert.equal(tokenizer.decode(tokens, horizon, actionDim).length, horizon * actionDim);
    }
  }
});

Deno.test("ChunkGrammar allows a token exactly if some completion exists: by brute force", () => {
  const tokenizer = fitTokenizer(2, 1, 60, 400);
  const grammar = new ChunkGrammar(tokenizer, 2, 1);
  const isComplete = (tokens: number[]) => {
    try {
      return tokenizer.decodeCoefficients(tokens).length === 2;
    } catch {
      return false;
    }
  };
  // With two tokens: a pair is well formed if and only if the grammar lets it through.
  const start = grammar.start(2);
  const first = grammar.allowed(start);
  for (let a = 0; a < grammar.vocabSize; a++) {
    let hasCompletion = isComplete([a]);
    for (let b = 0; b < grammar.vocabSize; b++) {
      const isGood = isComplete([a, b]);
      hasCompletion ||= isGood;
      if (isGood) assert.equal(grammar.allowed(grammar.next(start, a))[b], 1, `${a}, ${b}`);
    }
    assert.equal(first[a], Number(hasCompletion), `token ${a}`);
  }
});

Deno.test("ChunkGrammar lets every encoded chunk through", () => {
  for (const { horizon, actionDim, scale, vocabSize } of SETTINGS) {
    const tokenizer = fitTokenizer(horizon, actionDim, scale, vocabSize);
    const grammar = new ChunkGrammar(tokenizer, horizon, actionDim);
    for (const chunk of makeChunks(3, 30, horizon, actionDim)) {
      const tokens = tokenizer.encode(chunk, horizon, actionDim);
      grammar.check(tokens, grammar.maxTokens);
      grammar.check(tokens, Math.max(tokens.length, grammar.minTokens));
    }
  }
});

Deno.test("next() takes exactly the tokens that allowed() marks", () => {
  const tokenizer = fitTokenizer(5, 2, 60, 400);
  const grammar = new ChunkGrammar(tokenizer, 5, 2);
  const random = randomSource(5);
  for (const maxTokens of [grammar.minTokens, 7, grammar.maxTokens]) {
    let state = grammar.start(Math.max(maxTokens, grammar.minTokens));
    for (const token of sample(grammar, state.budget, random, () => 1)) {
      const mask = grammar.allowed(state);
      for (let t = 0; t < mask.length; t++) {
        if (mask[t] === 1) {
          const after = grammar.next(state, t);
          assert.ok(grammar.tokensToFinish(after) <= after.budget);
        } else assert.throws(() => grammar.next(state, t), RangeError);
      }
      state = grammar.next(state, token);
    }
    assert.deepEqual([...grammar.allowed(state)].filter((x) => x === 1), []);
    assert.equal(grammar.tokensToFinish(state), 0);
  }
});

Deno.test("allowed() shares one mask between equal states and between ample budgets", () => {
  const grammar = new ChunkGrammar(fitTokenizer(4, 3), 4, 3);
  const mask = grammar.allowed(grammar.start(grammar.maxTokens));
  assert.equal(grammar.allowed(grammar.start(grammar.maxTokens)), mask);
  assert.equal(grammar.allowed(grammar.start(grammar.maxTokens + 1000)), mask);
});

Deno.test("allowedAlong() repeats the masks that the sampler met", () => {
  const tokenizer = fitTokenizer(8, 4, 60, 512);
  const grammar = new ChunkGrammar(tokenizer, 8, 4);
  const random = randomSource(6);
  for (const maxTokens of [grammar.minTokens + 2, grammar.maxTokens]) {
    const tokens = sample(grammar, maxTokens, random, () => 1);
    const masks = grammar.allowedAlong(tokens, maxTokens);
    let state = grammar.start(maxTokens);
    tokens.forEach((token, s) => {
      const row = masks.subarray(s * grammar.vocabSize, (s + 1) * grammar.vocabSize);
      assert.deepEqual(row, grammar.allowed(state));
      assert.equal(row[token], 1);
      state = grammar.next(state, token);
    });
    assert.equal(masks.length, tokens.length * grammar.vocabSize);
  }
});

Deno.test("allowedAlong() refuses a chunk that leaves the grammar in one sentence", () => {
  const tokenizer = fitTokenizer(4, 3);
  const grammar = new ChunkGrammar(tokenizer, 4, 3);
  const tokens = [...tokenizer.encode(makeChunks(9, 1, 4, 3)[0], 4, 3)];
  const budget = grammar.maxTokens;
  grammar.check(tokens, budget);
  const zero = tokens[tokens.length - 1];
  const bad: [readonly number[], number, RegExp][] = [
    [tokens.slice(0, -1), budget, /it ends after \d+ tokens with \d+ of 12 coefficients missing/],
    [[...tokens, zero], budget, /is not allowed, 0 of 12 coefficients were missing/],
    [[-1, ...tokens], budget, /token -1 at position 0/],
    [[0.5, ...tokens], budget, /token 0.5 at position 0/],
    [[NaN], budget, /token NaN at position 0/],
    [[grammar.vocabSize], budget, /at position 0/],
    [[], budget, /ends after 0 tokens/],
    [tokens, grammar.minTokens - 1, /Cannot decode a chunk in \d+ tokens: 12 coefficients need/],
  ];
  for (const [sequence, maxTokens, message] of bad) {
    assert.throws(() => grammar.allowedAlong(sequence, maxTokens), { name: "RangeError", message });
  }
});

Deno.test("check() accepts a random sequence exactly if it decodes", () => {
  const tokenizer = fitTokenizer(2, 2, 60, 400);
  const grammar = new ChunkGrammar(tokenizer, 2, 2);
  const token = fc.integer({ min: 0, max: tokenizer.vocabSize - 1 });
  const accepts = (act: () => void) => {
    try {
      act();
      return true;
    } catch {
      return false;
    }
  };
  fc.assert(
    fc.property(fc.array(token, { minLength: 1, maxLength: grammar.maxTokens }), (tokens) => {
      assert.equal(
        accepts(() => grammar.check(tokens, grammar.maxTokens)),
        accepts(() => tokenizer.decode(tokens, 2, 2)),
      );
    }),
    { numRuns: 3000, seed: 8 },
  );
});

Deno.test("start() refuses a budget that no chunk fits in", () => {
  const grammar = new ChunkGrammar(fitTokenizer(4, 3), 4, 3);
  assert.doesNotThrow(() => grammar.start(grammar.minTokens));
  for (const budget of [grammar.minTokens - 1, 0, -1, NaN, 10.5]) {
    assert.throws(() => grammar.start(budget), {
      name: "RangeError",
      message: /coefficients need at least \d+; raise the token budget/,
    });
  }
});

Deno.test("ChunkGrammar serves characters of three bytes", async () => {
  // Only lead and continuation bytes and their raw forms: a vocabulary made by hand.
  const size = 2100;
  const alphabet = new Set<string>();
  for (let code = 0; code < size; code++) alphabet.add(String.fromCharCode(code));
  const bpe = ByteLevelBpe.train([], { vocabSize: size, initialAlphabet: alphabet });
  const dir = await Deno.makeTempDir({ prefix: "grammar_test_" });
  try {
    await Deno.writeTextFile(`${dir}/tokenizer.json`, bpe.toJson());
    await Deno.writeTextFile(
      `${dir}/processor_config.json`,
      JSON.stringify({ scale: 10, vocab_size: size, min_token: -1000 }),
    );
    const tokenizer = await FastTokenizer.load(dir);
    assert.equal(tokenizer.alphabetSize, size);
    const grammar = new ChunkGrammar(tokenizer, 3, 2);
    assert.equal(grammar.maxTokens, 18);
    const random = randomSource(4);
    for (let i = 0; i < 200; i++) {
      const budget = i % 2 === 0 ? grammar.minTokens : grammar.maxTokens;
      const tokens = sample(grammar, budget, random, (token) => token > 0xc0 ? 50 : 1);
      assert.equal(tokenizer.decode(tokens, 3, 2).length, 6);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("ChunkGrammar refuses a shape that is no shape", () => {
  assert.throws(() => new ChunkGrammar(fitTokenizer(4, 3), 0, 3), /horizon 0/);
  assert.throws(() => new ChunkGrammar(fitTokenizer(4, 3), 4, 1.5), /action dimension 1.5/);
});

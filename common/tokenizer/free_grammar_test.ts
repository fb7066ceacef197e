import assert from "node:assert/strict";
import fc from "fast-check";
import { FreeGrammar } from "./free_grammar.ts";
import { ChunkGrammar } from "./grammar.ts";
import { fitTokenizer, randomSource } from "./testing.ts";

const HORIZON = 4, ACTION_DIM = 3, BUDGET = 24;
const tokenizer = fitTokenizer(HORIZON, ACTION_DIM, 10, 300);
const free = new FreeGrammar(tokenizer, HORIZON, ACTION_DIM);
const bound = new ChunkGrammar(tokenizer, HORIZON, ACTION_DIM);

/** A chunk by drawing among what a grammar allows. */
function draw(grammar: ChunkGrammar, seed: number, maxTokens: number): number[] {
  const random = randomSource(seed);
  const tokens: number[] = [];
  let state = grammar.start(maxTokens);
  while (!grammar.isDone(state)) {
    const mask = grammar.allowed(state);
    const choices = [...mask.keys()].filter((token) => mask[token] === 1);
    const token = choices[Math.floor(random() * choices.length)];
    tokens.push(token);
    state = grammar.next(state, token);
  }
  return tokens;
}

Deno.test("FreeGrammar allows every token until a chunk is done, within its budget", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: free.minTokens, max: BUDGET }), (seed, budget) => {
      const tokens = draw(free, seed, budget);
      assert.ok(tokens.length >= 1 && tokens.length <= budget);
      free.check(tokens, budget);
      const masks = free.allowedAlong(tokens, budget);
      assert.equal(masks.length, tokens.length * free.vocabSize);
      assert.ok(masks.every((allowed) => allowed === 1));
    }),
    { numRuns: 100 },
  );
});

Deno.test("FreeGrammar takes every chunk that constrained decoding writes", () => {
  fc.assert(
    fc.property(fc.nat(), (seed) => {
      const tokens = draw(bound, seed, BUDGET);
      free.check(tokens, BUDGET);
      tokenizer.decode(tokens, HORIZON, ACTION_DIM);
    }),
    { numRuns: 50 },
  );
});

Deno.test("FreeGrammar lets through chunks that do not decode, which the other refuses", () => {
  let malformed = 0;
  for (let seed = 0; seed < 100; seed++) {
    const tokens = draw(free, seed, BUDGET);
    try {
      tokenizer.decode(tokens, HORIZON, ACTION_DIM);
    } catch {
      malformed++;
      assert.throws(() => bound.check(tokens, BUDGET), RangeError);
    }
  }
  assert.ok(malformed > 10, `${malformed} of 100`);
});

Deno.test("FreeGrammar refuses chunks that end too early or too late, and unknown tokens", () => {
  const tokens = draw(bound, 1, BUDGET);
  assert.throws(() => free.check(tokens.slice(0, -1), BUDGET), /it ends after .* missing/);
  assert.throws(() => free.check([...tokens, 0], BUDGET), /cannot follow/);
  for (const token of [-1, 0.5, tokenizer.vocabSize, NaN]) {
    assert.throws(() => free.check([token, ...tokens], BUDGET), RangeError);
  }
  assert.throws(() => free.allowedAlong([], BUDGET), RangeError);
});

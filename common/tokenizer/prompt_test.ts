import assert from "node:assert/strict";
import fc from "fast-check";
import { createLanguageTokenizer } from "./language.ts";
import {
  actionSuffix,
  buildPostfix,
  buildPrefix,
  discretizeState,
  fastToLanguageId,
  forcedActionPrefix,
  languageToFastId,
  prefixText,
} from "./prompt.ts";
import { readFixture } from "./testing.ts";
import { buildWordLevelTokenizer } from "./word_level.ts";

const language = createLanguageTokenizer(buildWordLevelTokenizer(["reach", "the", "ball"]), "tiny");
const PALIGEMMA = { vocabSize: 257_152, fastSkipTokens: 128, fastVocabSize: 2048 };

Deno.test("discretizeState() equals numpy's digitize, on the edges too", () => {
  const { state, stateBins } = readFixture<Record<string, number[]>>("numbers.json");
  assert.deepEqual([...discretizeState(state)], stateBins);
  assert.deepEqual([...discretizeState([-Infinity, Infinity])], [-1, 255]);
  assert.throws(() => discretizeState([0, NaN]), /value 1 is not a number/);
});

Deno.test("prefixText() writes openpi's prompt", () => {
  assert.equal(
    prefixText("  Reach_the BALL\n", [-2, -1, 0, 1]),
    "Task: reach the ball, State: -1 0 128 255;\n",
  );
});

Deno.test("buildPrefix() puts BOS first and one token a state number", () => {
  const prefix = buildPrefix({
    language,
    prompt: "reach the ball",
    state: [0, 1],
    maxTokenLen: 20,
  });
  assert.equal(prefix[0], language.bosId);
  assert.deepEqual(
    [...prefix.subarray(1)],
    [...language.encode("Task: reach the ball, State: 128 255;\n")],
  );
  assert.equal(prefix.length, 13);
});

Deno.test("buildPrefix() refuses a prompt beyond max_token_len, the action counted", () => {
  const options = { language, prompt: "reach the ball", state: [0, 1], maxTokenLen: 13 };
  assert.equal(buildPrefix(options).length, 13);
  assert.throws(() => buildPrefix({ ...options, maxTokenLen: 12 }), {
    name: "RangeError",
    message: /takes 13 tokens, max_token_len is 12; shorten the task/,
  });
  assert.throws(
    () => buildPrefix({ ...options, reservedTokens: 5 }),
    /takes 13 tokens and the action 5, max_token_len is 13/,
  );
});

Deno.test("buildPostfix() is the forced prefix, the mapped chunk, the bar and EOS", () => {
  const mapping = { vocabSize: 1000, fastSkipTokens: 10, fastVocabSize: 100 };
  assert.deepEqual([...buildPostfix(language, [0, 7, 99], mapping)], [
    ...forcedActionPrefix(language),
    989,
    982,
    890,
    ...actionSuffix(language),
  ]);
  assert.deepEqual([...forcedActionPrefix(language)], [...language.encode("Action:")]);
  assert.equal(actionSuffix(language).at(-1), language.eosId);
});

Deno.test("fastToLanguageId() counts down from 257023 in PaliGemma's vocabulary", () => {
  assert.equal(fastToLanguageId(0, PALIGEMMA), 257_023);
  assert.equal(fastToLanguageId(2047, PALIGEMMA), 254_976);
  assert.throws(() => fastToLanguageId(2048, PALIGEMMA), /ids run from 0 to 2047/);
  assert.throws(() => fastToLanguageId(-1, PALIGEMMA), RangeError);
  assert.throws(() => fastToLanguageId(0.5, PALIGEMMA), RangeError);
  assert.throws(
    () => fastToLanguageId(99, { vocabSize: 100, fastSkipTokens: 8, fastVocabSize: 100 }),
    /a language vocabulary of 100 has no room/,
  );
});

Deno.test("languageToFastId() undoes fastToLanguageId() and knows other text", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2047 }), (id) => {
      assert.equal(languageToFastId(fastToLanguageId(id, PALIGEMMA), PALIGEMMA), id);
    }),
    { numRuns: 100, seed: 1 },
  );
  for (const id of [0, 254_975, 257_024, 257_151]) {
    assert.equal(languageToFastId(id, PALIGEMMA), -1);
  }
});

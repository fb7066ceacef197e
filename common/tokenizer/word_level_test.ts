import assert from "node:assert/strict";
import { createLanguageTokenizer } from "./language.ts";
import { fixturePath, readFixture } from "./testing.ts";
import { buildWordLevelTokenizer } from "./word_level.ts";

/** The words of the fixture that the reference library read. */
const WORDS = ["reach", "the", "red", "ball", "push", "cube"];

Deno.test("buildWordLevelTokenizer() builds the fixture", () => {
  const text = Deno.readTextFileSync(fixturePath("word_level/tokenizer.json"));
  assert.equal(`${JSON.stringify(buildWordLevelTokenizer(WORDS).tokenizer, null, 2)}\n`, text);
});

Deno.test("buildWordLevelTokenizer() gives the ids that the reference library gives", () => {
  const tokenizer = createLanguageTokenizer(buildWordLevelTokenizer(WORDS), "tiny");
  for (const [text, ids] of readFixture<[string, number[]][]>("word_level/golden.json")) {
    assert.deepEqual([...tokenizer.encode(text)], ids, text);
  }
});

Deno.test("buildWordLevelTokenizer() makes each state number one token", () => {
  const tokenizer = createLanguageTokenizer(buildWordLevelTokenizer([]), "tiny");
  const bins = Array.from({ length: 256 }, (_, bin) => bin);
  assert.deepEqual([...tokenizer.encode(bins.join(" "))], bins.map((bin) => bin + 4));
  assert.equal(tokenizer.encode("-1").length, 1);
});

Deno.test("buildWordLevelTokenizer() skips known words and refuses what is not one", () => {
  const once = createLanguageTokenizer(buildWordLevelTokenizer(["a", "b"]), "tiny");
  const twice = createLanguageTokenizer(buildWordLevelTokenizer(["a", "b", "a", "7"]), "tiny");
  assert.equal(twice.vocabSize, once.vocabSize);
  for (const word of ["", "two words", "a,b", "x\n"]) {
    assert.throws(() => buildWordLevelTokenizer([word]), {
      name: "RangeError",
      message: /is not one word/,
    });
  }
});

import assert from "node:assert/strict";
import { GEMMA_PACKAGE, writeGemmaFiles } from "./gemma_files.ts";
import { type LanguageTokenizer, loadLanguageTokenizer } from "./language.ts";
import { actionSuffix, buildPrefix, forcedActionPrefix } from "./prompt.ts";
import { readFixture } from "./testing.ts";
import { withSentencePieceSymbols } from "./sentencepiece_symbols.ts";

interface LanguageGolden {
  readonly package: string;
  readonly sha256: string;
  readonly prompts: readonly (readonly [text: string, ids: readonly number[]])[];
}

const golden = readFixture<LanguageGolden>("gemma/golden.json");

/** Gemma's tokenizer, or why it is not at hand. */
async function loadGemma(): Promise<LanguageTokenizer | string> {
  const dir = await Deno.makeTempDir({ prefix: "language_gemma_test_" });
  try {
    return await writeGemmaFiles(dir, golden.sha256) ?? await loadLanguageTokenizer(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const gemma = await loadGemma();
const ignore = typeof gemma === "string";
const name = (claim: string) => ignore ? `${claim} (skipped: ${gemma})` : claim;

Deno.test("the golden file is of the package that the tests fetch", () => {
  assert.equal(golden.package, GEMMA_PACKAGE);
  assert.equal(golden.prompts.length, 200);
});

Deno.test({
  name: name("Gemma's tokenizer.json gives SentencePiece's ids on 200 prompts"),
  ignore,
  fn() {
    if (typeof gemma === "string") return;
    const differing = golden.prompts.filter(([text, ids]) =>
      [...gemma.encode(text)].join() !== ids.join()
    ).map(([text, ids]) => ({ text, ids: ids.join(), ours: [...gemma.encode(text)].join() }));
    assert.deepEqual(differing, []);
  },
});

Deno.test({
  name: name("Gemma's ids of the prompt's own parts are those that openpi trained with"),
  ignore,
  fn() {
    if (typeof gemma === "string") return;
    assert.deepEqual([gemma.bosId, gemma.eosId, gemma.vocabSize], [2, 1, 256_000]);
    assert.deepEqual([...forcedActionPrefix(gemma)], [4022, 235_292, 235_248]);
    assert.deepEqual([...actionSuffix(gemma)], [235_371, 1]);
    const prefix = buildPrefix({
      language: gemma,
      prompt: "Reach_the <eos> ball",
      state: [-2, 0],
      maxTokenLen: 64,
    });
    assert.equal(prefix.includes(gemma.eosId), false, "a task cannot end its own prompt");
  },
});

Deno.test("withSentencePieceSymbols() leaves other tokenizers as they are", () => {
  const wordLevel = readFixture<Record<string, unknown>>("word_level/tokenizer.json");
  const fast = readFixture<Record<string, unknown>>("arm/tokenizer.json");
  assert.equal(withSentencePieceSymbols(wordLevel), wordLevel);
  assert.equal(withSentencePieceSymbols(fast), fast);
  assert.deepEqual(withSentencePieceSymbols({}), {});
});

Deno.test("withSentencePieceSymbols() adds user-defined symbols and drops control symbols", () => {
  const vocab = { "<pad>": 0, "<eos>": 1, "▁▁": 2, "<b>": 3, "<0x00>": 4, a: 5 };
  const image = { id: 9, content: "<image>" };
  const location = { id: 6, content: "<loc0000>" };
  const tokenizer = withSentencePieceSymbols({
    model: { type: "BPE", byte_fallback: true, vocab },
    added_tokens: [{ id: 1, content: "<eos>" }, { id: 3, content: "<b>" }, image, location],
  });
  assert.deepEqual(
    (tokenizer.added_tokens as typeof image[]).map(({ id, content }) => [id, content]),
    [[3, "<b>"], [6, "<loc0000>"], [2, "  "]],
  );
});

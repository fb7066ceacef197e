import assert from "node:assert/strict";
import {
  createLanguageTokenizer,
  type LanguageFiles,
  loadLanguageTokenizer,
  saveLanguageFiles,
} from "./language.ts";
import { fixturePath } from "./testing.ts";
import { buildWordLevelTokenizer } from "./word_level.ts";

async function withFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "language_test_" });
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("loadLanguageTokenizer() adds no special tokens and counts every id", async () => {
  const tokenizer = await loadLanguageTokenizer(fixturePath("word_level"));
  assert.deepEqual([...tokenizer.encode("Task: 7")], [261, 262, 11]);
  assert.deepEqual([...tokenizer.encode("")], []);
  assert.equal(tokenizer.vocabSize, 275);
  assert.deepEqual([tokenizer.bosId, tokenizer.eosId], [2, 1]);
});

Deno.test("loadLanguageTokenizer() reads a BPE such as FAST's too", async () => {
  await withFolder(async (dir) => {
    const json = JSON.parse(Deno.readTextFileSync(fixturePath("arm/tokenizer.json")));
    const id = Object.keys(json.model.vocab).length;
    const special = { single_word: false, lstrip: false, rstrip: false, special: true };
    json.added_tokens = [
      { id, content: "<s>", normalized: false, ...special },
      { id: id + 1, content: "</s>", normalized: false, ...special },
    ];
    await Deno.writeTextFile(`${dir}/tokenizer.json`, JSON.stringify(json));
    const tokenizer = await loadLanguageTokenizer(dir);
    assert.deepEqual([tokenizer.bosId, tokenizer.eosId], [id, id + 1]);
    assert.equal(tokenizer.vocabSize, id + 2);
    assert.equal(tokenizer.encode("!!").length > 0, true);
  });
});

Deno.test("createLanguageTokenizer() finds the unknown token in the model", () => {
  const { tokenizer, config: { unk_token: _, ...config } } = buildWordLevelTokenizer([]);
  assert.deepEqual([...createLanguageTokenizer({ tokenizer, config }, "here").encode("zz")], [3]);
});

Deno.test("encode() refuses an unknown word where there is no unknown token", () => {
  const { tokenizer, config: { unk_token: _, ...config } } = buildWordLevelTokenizer([]);
  const model = { type: "WordLevel", vocab: { "<bos>": 2, "<eos>": 1, a: 0 } };
  const language = createLanguageTokenizer({ tokenizer: { ...tokenizer, model }, config }, "here");
  assert.throws(() => language.encode("a zz"), {
    name: "RangeError",
    message: /Cannot encode "a zz": piece 1 is not in the vocabulary/,
  });
});

Deno.test("fingerprint() survives a save and tells vocabularies apart", async () => {
  const files = buildWordLevelTokenizer(["reach"]);
  const tokenizer = createLanguageTokenizer(files, "here");
  await withFolder(async (dir) => {
    await saveLanguageFiles(`${dir}/new`, files);
    const loaded = await loadLanguageTokenizer(`${dir}/new`);
    assert.equal(loaded.fingerprint(), tokenizer.fingerprint());
  });
  const other = createLanguageTokenizer(buildWordLevelTokenizer(["grasp"]), "here");
  assert.notEqual(other.fingerprint(), tokenizer.fingerprint());
  assert.match(tokenizer.fingerprint(), /^[0-9a-f]{64}$/);
});

Deno.test("loadLanguageTokenizer() says what is missing or corrupt", async () => {
  await withFolder(async (dir) => {
    await assert.rejects(loadLanguageTokenizer(dir), (error: Error) => {
      assert.ok(error.message.includes(`${dir}/tokenizer.json does not exist; put the`));
      assert.match(error.message, /tokenizer_config\.json .* google\/paligemma-3b-pt-224/);
      return true;
    });
    const files = buildWordLevelTokenizer([]);
    await saveLanguageFiles(dir, files);
    await Deno.writeTextFile(`${dir}/tokenizer_config.json`, "{");
    await assert.rejects(loadLanguageTokenizer(dir), /tokenizer_config\.json is not JSON/);
    await Deno.writeTextFile(`${dir}/tokenizer_config.json`, "[]");
    await assert.rejects(loadLanguageTokenizer(dir), /holds no JSON object/);
  });
  const { tokenizer, config } = buildWordLevelTokenizer([]);
  const bad: [LanguageFiles, RegExp][] = [
    [{ tokenizer: {}, config }, /has no usable tokenizer\.json/],
    [{ tokenizer: { ...tokenizer, model: { type: "X" } }, config }, /has no usable/],
    [
      { tokenizer, config: { ...config, eos_token: "<end>" } },
      /no token <end>.*eos_token in here\/tokenizer_config/,
    ],
  ];
  for (const [files, message] of bad) {
    assert.throws(() => createLanguageTokenizer(files, "here"), { name: "SyntaxError", message });
  }
});

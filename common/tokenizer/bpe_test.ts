import assert from "node:assert/strict";
import { ByteLevelBpe } from "./bpe.ts";
import { FITTED_CASES, fixturePath, type Golden, readFixture } from "./testing.ts";

const CASES = [...FITTED_CASES, "holes"] as const;

function loadCase(name: string): ByteLevelBpe {
  const path = fixturePath(`${name}/tokenizer.json`);
  return ByteLevelBpe.fromJson(Deno.readTextFileSync(path), path);
}

for (const name of CASES) {
  Deno.test(`ByteLevelBpe encodes texts as the reference does: ${name}`, () => {
    const bpe = loadCase(name);
    for (const [codes, ids] of readFixture<Golden>(`${name}/golden.json`).texts) {
      assert.deepEqual([...bpe.encode(String.fromCharCode(...codes))], ids);
    }
  });

  Deno.test(`tokenBytes() gives the bytes that the reference decodes: ${name}`, () => {
    const bpe = loadCase(name);
    const { tokenTexts } = readFixture<Golden>(`${name}/golden.json`);
    assert.equal(bpe.size, tokenTexts.length);
    tokenTexts.forEach((codes, id) => {
      const text = new TextDecoder().decode(bpe.tokenBytes(id));
      assert.deepEqual(Array.from(text, (c) => c.codePointAt(0)), codes, `token ${id}`);
    });
  });

  Deno.test(`toJson() writes what the reference wrote: ${name}`, () => {
    const text = Deno.readTextFileSync(fixturePath(`${name}/tokenizer.json`));
    assert.equal(ByteLevelBpe.fromJson(text, name).toJson(), text);
  });
}

Deno.test("symbolsOf() falls back on the raw token of a character that training never saw", () => {
  const bpe = loadCase("holes");
  const missing = Array.from({ length: 128 }, (_, code) => code)
    .filter((code) => bpe.symbolsOf(code).some((id) => id === code && bpe.tokens[id] < "!"));
  assert.ok(missing.length > 0, "the fixture has a control character without its byte");
  for (const code of missing) {
    const text = String.fromCharCode(code);
    const decoded = [...bpe.encode(text)].flatMap((id) => [...bpe.tokenBytes(id)]);
    assert.deepEqual(decoded, [code]);
  }
});

Deno.test("encode() names a character that the vocabulary cannot write", () => {
  const bpe = ByteLevelBpe.train(["abc"], { vocabSize: 10, initialAlphabet: [] });
  assert.throws(() => bpe.encode("abd"), {
    name: "RangeError",
    message: /vocabulary of 3 tokens has none for character 100/,
  });
});

Deno.test("encode() merges long words of one character as training did", () => {
  const bpe = ByteLevelBpe.train(["a".repeat(64), "a".repeat(64)], {
    vocabSize: 7,
    initialAlphabet: [],
  });
  assert.deepEqual(bpe.tokens, [0, 1, 2, 3, 4, 5, 6].map((n) => "a".repeat(2 ** n)));
  assert.deepEqual([...bpe.encode("a".repeat(1000))].reduce((n, id) => n + 2 ** id, 0), 1000);
});

Deno.test("fromJson() reads merges in the older notation", () => {
  const text = Deno.readTextFileSync(fixturePath("arm/tokenizer.json"));
  const json = JSON.parse(text);
  json.model.merges = json.model.merges.map((pair: string[]) => pair.join(" "));
  assert.equal(ByteLevelBpe.fromJson(JSON.stringify(json), "old").toJson(), text);
});

Deno.test("fromJson() refuses what is not a byte-level BPE in one sentence", () => {
  const json = () => JSON.parse(Deno.readTextFileSync(fixturePath("dense/tokenizer.json")));
  const bad: [string, (value: ReturnType<typeof json>) => void, RegExp][] = [
    ["another model", (j) => j.model.type = "WordPiece", /model\.type/],
    ["a prefix space", (j) => j.pre_tokenizer.add_prefix_space = true, /add_prefix_space/],
    ["no pre-tokenizer", (j) => j.pre_tokenizer = null, /pre_tokenizer/],
    ["an added token", (j) => j.added_tokens = [{ id: 1 }], /added tokens are not supported/],
    ["a gap in the ids", (j) => j.model.vocab["!"] = 9999, /id 9999/],
    ["an id twice", (j) => j.model.vocab["!"] = 0, /id 0 is used twice/],
    ["an unknown merge", (j) => j.model.merges[0] = ["?!", "?"], /merge 0 names a token/],
    ["a dropout", (j) => j.model.dropout = 0.1, /model\.dropout/],
    ["no vocabulary", (j) => delete j.model.vocab, /model\.vocab/],
  ];
  for (const [what, change, message] of bad) {
    const value = json();
    change(value);
    const read = () => ByteLevelBpe.fromJson(JSON.stringify(value), "some/tokenizer.json");
    assert.throws(read, { name: "SyntaxError", message }, what);
    assert.throws(read, /^SyntaxError: Cannot read tokenizer some\/tokenizer\.json: [^\n]+$/);
  }
  const text = JSON.stringify(json());
  assert.throws(() => ByteLevelBpe.fromJson(text.slice(0, 500), "cut"), /the file is not JSON/);
});

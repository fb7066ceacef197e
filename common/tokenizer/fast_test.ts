import assert from "node:assert/strict";
import fc from "fast-check";
import { FastTokenizer } from "./fast.ts";
import {
  FITTED_CASES,
  fitTokenizer,
  fixturePath,
  type Golden,
  makeChunks,
  readFixture,
} from "./testing.ts";

function toActions(integers: readonly number[], unit: number): Float32Array {
  return Float32Array.from(integers, (value) => value / unit);
}

function fitGolden(golden: Golden): FastTokenizer {
  const chunks = golden.chunks.map((chunk) => toActions(chunk, golden.unit));
  const alphabet = golden.alphabet === "complete" ? "complete" : "reference";
  return FastTokenizer.fit(chunks, { ...golden, alphabet });
}

async function withFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "fast_test_" });
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

for (const name of FITTED_CASES) {
  Deno.test(`fit() learns the reference's tokenizer, byte for byte: ${name}`, () => {
    const golden = readFixture<Golden>(`${name}/golden.json`);
    const tokenizer = fitGolden(golden);
    assert.equal(tokenizer.minToken, golden.minToken);
    assert.equal(tokenizer.alphabetSize, golden.maxToken - golden.minToken + 1);
    const reference = Deno.readTextFileSync(fixturePath(`${name}/tokenizer.json`));
    assert.equal(tokenizer.bpe.toJson(), reference);
  });
}

for (const name of [...FITTED_CASES, "holes"]) {
  Deno.test(`encode() and decode() equal the processor's: ${name}`, async () => {
    const golden = readFixture<Golden>(`${name}/golden.json`);
    const { horizon, actionDim } = golden;
    const tokenizer = await FastTokenizer.load(fixturePath(name));
    golden.heldOut.forEach((chunk, i) => {
      const ids = tokenizer.encode(toActions(chunk, golden.unit), horizon, actionDim);
      assert.deepEqual([...ids], golden.encoded[i]);
    });
    const decoded = tokenizer.decode(golden.encoded[0], horizon, actionDim);
    golden.decodedFirst.forEach((value, i) => assert.ok(Math.abs(value - decoded[i]) < 1e-6));
  });
}

Deno.test("decode() returns every chunk to within the rounding of its coefficients", () => {
  const tokenizer = fitTokenizer(16, 14);
  for (const chunk of makeChunks(7, 20, 16, 14)) {
    const back = tokenizer.decode(tokenizer.encode(chunk, 16, 14), 16, 14);
    // Each of 16 coefficients errs by at most 0.05; the transform keeps the norm.
    for (let i = 0; i < back.length; i++) assert.ok(Math.abs(back[i] - chunk[i]) <= 0.05 * 4);
  }
});

Deno.test("encode() clips what fit() never saw to the alphabet, and it still decodes", () => {
  const tokenizer = fitTokenizer(4, 3, 40);
  const max = tokenizer.minToken + tokenizer.alphabetSize - 1;
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 12, maxLength: 12 }),
      (values) => {
        const ids = tokenizer.encode(Float32Array.from(values), 4, 3);
        for (const value of tokenizer.decodeCoefficients(ids)) {
          assert.ok(value >= tokenizer.minToken && value <= max);
        }
        assert.equal(tokenizer.decode(ids, 4, 3).length, 12);
      },
    ),
    { numRuns: 300, seed: 4 },
  );
});

Deno.test("fit() with the complete alphabet makes every integer between the extremes representable", () => {
  // One lone huge coefficient: nearly every integer below it is absent from the data.
  for (const peak of [5, 30, 64, 97, 130, 250]) {
    const tokenizer = FastTokenizer.fit([Float32Array.of(0), Float32Array.of(peak / 10)], {
      vocabSize: 2048,
      horizon: 1,
      actionDim: 1,
      alphabet: "complete",
    });
    assert.equal(tokenizer.alphabetSize, peak + 1);
    for (let value = 0; value <= peak; value++) {
      const ids = tokenizer.encode(Float32Array.of(value / 10), 1, 1);
      assert.deepEqual([...tokenizer.decodeCoefficients(ids)], [value]);
    }
  }
});

Deno.test("encode() rounds halves to even, where the reference's transform leaves halves", () => {
  const shape = { vocabSize: 64, horizon: 4, actionDim: 1 };
  const wave = (value: number) => Float32Array.of(value, -value, -value, value);
  const tokenizer = FastTokenizer.fit([wave(-2), wave(2)], { ...shape, scale: 1 });
  const round = (value: number) =>
    tokenizer.decodeCoefficients(tokenizer.encode(wave(value / 2), 4, 1))[2];
  assert.deepEqual([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5].map(round), [-2, -2, 0, 0, 2, 2]);
});

Deno.test("encode() rounds where the reference's transform misses a half by its last bit", () => {
  // scipy 1.17: dct([0.5], norm="ortho") is 0.5000000000000001.
  const chunks = [-4, 4].map((value) => Float32Array.of(value));
  const shape = { vocabSize: 64, horizon: 1, actionDim: 1 };
  const tokenizer = FastTokenizer.fit(chunks, { ...shape, scale: 1 });
  const round = (value: number) =>
    tokenizer.decodeCoefficients(tokenizer.encode(Float32Array.of(value), 1, 1))[0];
  assert.deepEqual([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5].map(round), [-3, -2, -1, 1, 2, 3]);
});

Deno.test("decode() names the count of coefficients that is wrong", () => {
  const tokenizer = fitTokenizer(4, 3);
  const ids = tokenizer.encode(new Float32Array(12), 4, 3);
  assert.throws(() => tokenizer.decode(ids, 4, 4), {
    name: "RangeError",
    message: /hold 12 coefficients, horizon 4 × action dimension 4 needs 16/,
  });
  assert.throws(() => tokenizer.decode([], 4, 3), /0 tokens hold 0 coefficients/);
  assert.throws(() => tokenizer.decode([tokenizer.vocabSize], 4, 3), /Cannot decode token/);
  assert.throws(() => tokenizer.decode([-1], 4, 3), RangeError);
  assert.throws(() => tokenizer.decode([0.5], 4, 3), RangeError);
});

Deno.test("decode() refuses partial characters and characters outside the alphabet", () => {
  const tokenizer = fitTokenizer(4, 3, 60);
  const lead = tokenizer.bpe.tokens.indexOf("Ã"); // byte 0xC3
  assert.throws(() => tokenizer.decode([lead], 4, 3), /end inside a character/);
  assert.throws(() => tokenizer.decode([lead, lead], 4, 3), /at position 1 gives no character/);
});

Deno.test("fit() and encode() refuse bad input in one sentence", () => {
  const options = { vocabSize: 64, horizon: 2, actionDim: 2, alphabet: "complete" } as const;
  const chunk = new Float32Array(4);
  assert.throws(() => FastTokenizer.fit([], options), /no chunks/);
  assert.throws(() => FastTokenizer.fit([new Float32Array(3)], options), /holds 3 values/);
  assert.throws(() => FastTokenizer.fit([chunk.fill(NaN)], options), /not finite/);
  assert.throws(() => FastTokenizer.fit([chunk.fill(0)], { ...options, scale: 0 }), /scale is 0/);
  assert.throws(
    () => FastTokenizer.fit([Float32Array.of(0, 90, 0, -90)], options),
    /need \d+ tokens, vocabSize is 64; raise it or lower the scale of 10/,
  );
  assert.throws(
    () => FastTokenizer.fit([Float32Array.of(0, 9e9, 0, 0)], options),
    /at most 55296 can be written/,
  );
  const tokenizer = fitTokenizer(2, 2);
  assert.throws(() => tokenizer.encode(Float32Array.of(0, 0, Infinity, 0), 2, 2), /dimension 0/);
});

Deno.test("load() gives back what save() wrote, with the same fingerprint", () =>
  withFolder(async (dir) => {
    // 60 and 90 give alphabets of which the byte characters lengthen the raw run by accident.
    for (const scale of [10, 60, 90, 150]) {
      const tokenizer = fitTokenizer(8, 3, scale);
      await tokenizer.save(`${dir}/nested/${scale}`);
      const loaded = await FastTokenizer.load(`${dir}/nested/${scale}`);
      assert.equal(loaded.fingerprint(), tokenizer.fingerprint());
      assert.equal(loaded.alphabetSize, tokenizer.alphabetSize);
      assert.deepEqual([loaded.horizon, loaded.actionDim], [8, 3]);
      const [chunk] = makeChunks(1, 1, 8, 3);
      assert.deepEqual(loaded.encode(chunk, 8, 3), tokenizer.encode(chunk, 8, 3));
    }
  }));

Deno.test("fingerprint() tells apart tokenizers that mean different things", () => {
  const tokenizer = fitTokenizer(8, 3);
  const smaller = fitTokenizer(8, 3, 10, tokenizer.vocabSize - 1);
  const prints = [tokenizer, smaller, fitTokenizer(8, 3, 11)].map((t) => t.fingerprint());
  assert.equal(new Set(prints).size, 3);
  assert.match(prints[0], /^[0-9a-f]{64}$/);
});

Deno.test("load() says in one sentence which file is missing or corrupt", () =>
  withFolder(async (dir) => {
    await assert.rejects(FastTokenizer.load(dir), /tokenizer\.json does not exist/);
    await fitTokenizer(4, 3).save(dir);
    const files = ["tokenizer.json", "processor_config.json", "tokenizer_config.json"];
    for (const file of files) {
      const path = `${dir}/${file}`;
      const text = await Deno.readTextFile(path);
      await Deno.writeTextFile(path, text.slice(0, text.length / 2));
      await assert.rejects(
        FastTokenizer.load(dir),
        (error: Error) => error.message.includes(file) && error.message.includes("not JSON"),
      );
      await Deno.writeTextFile(path, text);
    }
    const path = `${dir}/processor_config.json`;
    const config = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify({ ...config, min_token: "0" }));
    await assert.rejects(FastTokenizer.load(dir), /min_token is wrong/);
    await Deno.remove(path);
    await assert.rejects(FastTokenizer.load(dir), /processor_config\.json does not exist/);
  }));

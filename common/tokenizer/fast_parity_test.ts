import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { FastTokenizer } from "./fast.ts";
import { type ParityCase, parityChunks, parityIds, readFixture } from "./testing.ts";

const cases = readFixture<ParityCase[]>("parity.json");

/** As `fast_goldens.py` weighs the values of a decoded chunk. */
function weightedSum(actions: Float32Array): number {
  return actions.reduce((sum, value, i) => sum + value * ((i * 37) % 101) / 101, 0);
}

Deno.test("the parity fixture has 1,000 chunks and more of every kind", () => {
  assert.ok(cases.reduce((sum, { encoded }) => sum + encoded, 0) >= 1000);
  assert.ok(cases.some(({ minToken }) => minToken > 0) && cases.some((c) => c.minToken < 0));
  assert.ok(cases.some(({ kind }) => kind === "recorded"));
});

for (const golden of cases) {
  const { kind, horizon, actionDim, scale, vocabSize, factor } = golden;
  const name = `${kind} ${horizon}×${actionDim}, scale ${scale}, vocabulary ${vocabSize}` +
    (factor === 1 ? "" : `, beyond both ends`);
  Deno.test(`fit(), encode() and decode() equal the processor's: ${name}`, () => {
    const { fitted, encoded } = parityChunks(golden);
    const tokenizer = FastTokenizer.fit(fitted, { scale, vocabSize, horizon, actionDim });
    assert.equal(tokenizer.minToken, golden.minToken);
    assert.equal(tokenizer.vocabSize, golden.tokens);
    const digest = createHash("sha256").update(tokenizer.bpe.toJson()).digest("hex");
    assert.equal(digest, golden.tokenizerSha256, "tokenizer.json, byte for byte");

    const expected = parityIds(golden);
    encoded.forEach((chunk, i) => {
      const ids = tokenizer.encode(chunk, horizon, actionDim, "reference");
      assert.deepEqual([...ids], [...expected[i]], `chunk ${i}`);
      const sum = golden.decoded[i];
      const decode = () => tokenizer.decode(ids, horizon, actionDim, "reference");
      if (sum === null) assert.throws(decode, RangeError);
      else assert.ok(Math.abs(weightedSum(decode()) - sum) < 1e-4, `decoded chunk ${i}`);
    });
  });
}

Deno.test("encode() by default differs from the processor only where that loses or exceeds a bound", () => {
  let [clipped, rescued] = [0, 0];
  for (const golden of cases) {
    const { scale, vocabSize, horizon, actionDim } = golden;
    const { fitted, encoded } = parityChunks(golden);
    const tokenizer = FastTokenizer.fit(fitted, { scale, vocabSize, horizon, actionDim });
    const greatest = tokenizer.minToken + tokenizer.alphabetSize - 1;
    parityIds(golden).forEach((expected, i) => {
      const isLost = golden.decoded[i] === null;
      let ids: Int32Array;
      try {
        ids = tokenizer.encode(encoded[i], horizon, actionDim);
      } catch (error) {
        assert.match(`${error}`, /the vocabulary of \d+ tokens has none for character/);
        assert.ok(isLost);
        return;
      }
      assert.doesNotThrow(() => tokenizer.decode(ids, horizon, actionDim));
      if ([...ids].join() === [...expected].join()) return;
      if (isLost) return void rescued++;
      const exceeding = tokenizer.decodeCoefficients(expected, "reference")
        .filter((value) => value > greatest);
      assert.ok(exceeding.length > 0);
      clipped++;
    });
  }
  assert.ok(clipped + rescued > 0);
});

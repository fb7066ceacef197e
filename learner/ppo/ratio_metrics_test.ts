import assert from "node:assert/strict";
import fc from "fast-check";
import { effectiveSampleSize, summarizeRatios, truncatedWeights } from "./ratio_metrics.ts";

Deno.test("summarizeRatios() gives hand-worked numbers", () => {
  const found = summarizeRatios([0, Math.log(2), -Math.log(2), 0], { clipRange: 0.2 });
  assert.ok(found);
  const expected = {
    count: 4,
    mean: 4.5 / 4,
    max: 2,
    effectiveSampleSize: 4.5 ** 2 / (4 * 6.25),
    k1: 0,
    k3: 0.125, // ¼ · ((1 − log 2) + (−½ + log 2))
    clippedLow: 0.25,
    clippedHigh: 0.25,
  };
  for (const [name, value] of Object.entries(expected)) {
    const actual: number = found[name as keyof typeof expected];
    assert.ok(Math.abs(actual - value) < 1e-12, `${name}: ${actual} is not ${value}`);
  }
  assert.equal(summarizeRatios([], { clipRange: 0.2 }), null);
  assert.throws(() => summarizeRatios([0, NaN], { clipRange: 0.2 }), /RangeError: .*1 of 2/);
});

Deno.test("summarizeRatios() stays within its bounds and finite for any numbers", () => {
  const any = fc.oneof(fc.double({ noNaN: true }), fc.constantFrom(-Infinity, Infinity));
  fc.assert(
    fc.property(fc.array(any, { minLength: 1, maxLength: 20 }), (list) => {
      const found = summarizeRatios(list, { clipRange: 0.2, clipRangeHigh: 0.28 });
      assert.ok(found && Object.values(found).every(Number.isFinite));
      assert.ok(found.effectiveSampleSize > 0 && found.effectiveSampleSize <= 1);
      assert.ok(found.k3 >= 0 && found.max >= found.mean);
      assert.ok(found.clippedLow + found.clippedHigh <= 1);
    }),
    { numRuns: 60, seed: 3 },
  );
});

Deno.test("summarizeRatios()'s estimators agree with the exact KL on average", () => {
  // Over all outcomes weighted by π_b instead of samples: the estimators are unbiased.
  const behaviour = [0.5, 0.3, 0.2], target = [0.4, 0.25, 0.35];
  const kl = behaviour.reduce((a, p, i) => a + p * Math.log(p / target[i]), 0);
  const average = (name: "k1" | "k3") =>
    behaviour.reduce((a, p, i) => {
      const one = summarizeRatios([Math.log(target[i] / p)], { clipRange: 0.2 });
      return a + p * (one?.[name] ?? NaN);
    }, 0);
  assert.ok(Math.abs(average("k1") - kl) < 1e-12);
  assert.ok(Math.abs(average("k3") - kl) < 1e-12);
});

Deno.test("effectiveSampleSize() is 1 for equal weights, 1/n for one alone, 0 for none", () => {
  assert.equal(effectiveSampleSize([0.5, 0.5, 0.5]), 1);
  assert.equal(effectiveSampleSize([0, 7, 0, 0]), 0.25);
  assert.equal(effectiveSampleSize([0, 0]), 0);
  assert.equal(effectiveSampleSize([]), 0);
});

Deno.test("truncatedWeights() caps and refuses a cap that is not above 0", () => {
  assert.deepEqual([...truncatedWeights([0, 50, -Infinity], 2)], [1, 2, Math.exp(-20)]);
  assert.throws(() => truncatedWeights([0], 0), /RangeError: .*cap is 0/);
});

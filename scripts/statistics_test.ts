import assert from "node:assert/strict";
import fc from "fast-check";
import { median, percentile, wilsonInterval } from "./statistics.ts";

const close = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) < 5e-5, `${actual} is not ${expected}`);

Deno.test("percentile() interpolates between sorted values and leaves its input alone", () => {
  const values = [4, 1, 3, 2];
  assert.equal(percentile(values, 0), 1);
  assert.equal(percentile(values, 0.5), 2.5);
  close(percentile(values, 0.9), 3.7);
  assert.equal(percentile(values, 1), 4);
  assert.deepEqual(values, [4, 1, 3, 2]);
  assert.equal(median([7]), 7);
});

Deno.test("percentile() refuses no values and shares outside 0–1", () => {
  assert.throws(() => percentile([], 0.5), /there are no values/);
  assert.throws(() => percentile([1], 1.5), /the share is 1.5, expected 0–1/);
  assert.throws(() => percentile([1], NaN), RangeError);
});

// Expected values computed with the closed formula in Python's decimal arithmetic.
Deno.test("wilsonInterval() gives known intervals", () => {
  const cases: [number, number, number, number][] = [
    [0, 10, 0, 0.277533],
    [10, 10, 0.722467, 1],
    [50, 100, 0.403832, 0.596168],
    [95, 100, 0.88825, 0.978456],
  ];
  for (const [successes, trials, low, high] of cases) {
    const interval = wilsonInterval(successes, trials);
    close(interval[0], low);
    close(interval[1], high);
  }
});

Deno.test("wilsonInterval() contains the rate, stays in 0–1 and mirrors", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2000 }), fc.double({ min: 0, max: 1, noNaN: true }), (
      trials,
      share,
    ) => {
      const successes = Math.round(share * trials);
      const [low, high] = wilsonInterval(successes, trials);
      const rate = successes / trials;
      assert.ok(0 <= low && low <= rate && rate <= high && high <= 1);
      assert.ok(high > low);
      const [mirrorLow, mirrorHigh] = wilsonInterval(trials - successes, trials);
      close(mirrorLow, 1 - high);
      close(mirrorHigh, 1 - low);
    }),
    { numRuns: 100 },
  );
});

Deno.test("wilsonInterval() refuses counts that do not fit", () => {
  assert.throws(() => wilsonInterval(0, 0), /there are 0 trials, at least 1 is needed/);
  assert.throws(() => wilsonInterval(11, 10), /11 successes do not fit 10 trials/);
  assert.throws(() => wilsonInterval(-1, 10), RangeError);
  assert.throws(() => wilsonInterval(1.5, 10), RangeError);
});

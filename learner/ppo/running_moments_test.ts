import assert from "node:assert/strict";
import fc from "fast-check";
import { RunningMoments } from "./running_moments.ts";

const vectors = fc.array(
  fc.tuple(
    fc.double({ min: -100, max: 100, noNaN: true }),
    fc.double({ min: 999, max: 1001, noNaN: true }),
  ),
  { minLength: 2, maxLength: 30 },
);

Deno.test("RunningMoments of vectors in parts are those of all of them at once", () => {
  fc.assert(
    fc.property(vectors, fc.nat(30), (all, cut) => {
      const moments = new RunningMoments(2);
      moments.update(all.slice(0, cut));
      // A checkpoint in between loses nothing.
      const resumed = new RunningMoments(2, JSON.parse(JSON.stringify(moments.state)));
      resumed.update(all.slice(cut));
      for (const f of [0, 1]) {
        const column = all.map((v) => v[f]);
        const mean = column.reduce((a, b) => a + b, 0) / all.length;
        const variance = column.reduce((a, x) => a + (x - mean) ** 2, 0) / all.length;
        assert.ok(Math.abs(resumed.mean[f] - mean) < 1e-9);
        assert.ok(Math.abs(resumed.deviation[f] - Math.sqrt(variance)) < 1e-6);
      }
    }),
    { numRuns: 50, seed: 1 },
  );
});

Deno.test("RunningMoments begin at mean 0 and deviation 1 and refuse what cannot be", () => {
  const moments = new RunningMoments(2);
  assert.deepEqual([...moments.mean, ...moments.deviation], [0, 0, 1, 1]);
  assert.throws(() => moments.update([[1, 2], [3]]), /RangeError: .* 1 numbers, expected 2/);
  assert.throws(() => moments.update([[1, NaN]]), /RangeError: .*number 1 of 2 is NaN/);
  assert.equal(moments.state.count, 0);
  assert.throws(() => new RunningMoments(3, moments.state), RangeError);
  const broken = { count: 1, mean: [NaN, 0], squares: [0, 0] };
  assert.throws(() => new RunningMoments(2, broken), /RangeError: .*not finite/);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { firstReaching, spread, summarizeRuns, summaryTable } from "./summarize_runs.ts";
import { madeUpRun } from "./testing.ts";

Deno.test("spread() is mean and deviation of a sample", () => {
  assert.deepEqual(spread([0.5]), { count: 1, mean: 0.5, deviation: 0, min: 0.5, max: 0.5 });
  const { mean, deviation, min, max } = spread([1, 2, 3, 6]);
  assert.deepEqual([mean, min, max], [3, 1, 6]);
  // (4 + 1 + 0 + 9) / 3
  assert.ok(Math.abs(deviation - Math.sqrt(14 / 3)) < 1e-12);
  assert.throws(() => spread([]), RangeError);
});

Deno.test("firstReaching() interpolates nothing", () => {
  const run = madeUpRun("default", 0, [0.5, 0.89, 0.95, 0.9]);
  assert.equal(firstReaching(run, 0.9)?.controlSteps, 2000);
  assert.equal(firstReaching(run, 0.5)?.controlSteps, 0);
  assert.equal(firstReaching(run, 0.96), undefined);
});

Deno.test("firstReaching() is no earlier for a higher share", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(share, { minLength: 1, maxLength: 12 }), share, share, (curve, a, b) => {
      const run = madeUpRun("default", 0, curve);
      const low = firstReaching(run, Math.min(a, b));
      const high = firstReaching(run, Math.max(a, b));
      if (high !== undefined) assert.ok(low !== undefined && low.update <= high.update);
    }),
    { numRuns: 100 },
  );
});

Deno.test("summarizeRuns() counts the runs that reach a share, and averages over those alone", () => {
  const runs = [
    madeUpRun("default", 1, [0.4, 0.92, 0.99]),
    madeUpRun("stale", 0, [0.4, 0.3, 0.2]),
    madeUpRun("default", 0, [0.4, 0.8, 0.91]),
    { ...madeUpRun("default", 2, [0.4, 1]), trained: undefined },
  ];
  const [standard, stale, ...none] = summarizeRuns(runs);
  assert.equal(none.length, 0);
  assert.deepEqual(standard.seeds, [0, 1]);
  assert.deepEqual(standard.perSeed, [0.91, 0.99]);
  assert.ok(Math.abs(standard.finalSuccess.mean - 0.95) < 1e-12);
  const [at90, at95, at98] = standard.levels;
  assert.deepEqual([at90.reached, at90.controlSteps?.mean, at90.wallSeconds?.mean], [2, 1500, 15]);
  assert.deepEqual([at95.reached, at95.controlSteps?.mean], [1, 2000]);
  assert.deepEqual([at98.reached, at98.controlSteps?.mean], [1, 2000]);
  assert.equal(stale.levels[0].controlSteps, null);
  assert.equal(stale.worstLate, 0.2);
  assert.equal(stale.weightAge, 0.5);
  const table = summaryTable([standard, stale]);
  assert.match(
    table,
    /default +2 +40\.0 +95\.0 +5\.7 .*2k +2k \(1\/2\) +2k \(1\/2\) +15 +91\.0 99\.0/,
  );
  assert.match(table, /stale +1 .*– +– +– +– +20\.0/);
});

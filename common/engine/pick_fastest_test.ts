import assert from "node:assert/strict";
import fc from "fast-check";
import { pickFastest } from "./pick_fastest.ts";

/** Measurements that take as long as they say, on a clock of their own. */
function fakeMeasurements(failures: ReadonlySet<number> = new Set()) {
  let clock = 0;
  const failed: number[] = [];
  return {
    failed,
    elapsed: () => clock,
    options: (budgetMs: number) => ({
      measure: (candidate: number) => {
        clock += candidate;
        return failures.has(candidate)
          ? Promise.reject(new Error("no"))
          : Promise.resolve(candidate);
      },
      onFailure: (candidate: number) => void failed.push(candidate),
      margin: 0,
      budgetMs,
      now: () => clock,
    }),
  };
}

Deno.test("pickFastest() takes the fastest of all that the budget allows, the earlier of two", async () => {
  const fake = fakeMeasurements();
  assert.deepEqual(await pickFastest([5, 3, 9], fake.options(100)), {
    best: 3,
    ms: 3,
    measured: 3,
  });
  const twins = [{ ms: 2 }, { ms: 2 }];
  const options = {
    ...fake.options(100),
    measure: ({ ms }: { ms: number }) => Promise.resolve(ms),
  };
  const picked = await pickFastest(twins, { ...options, onFailure: () => {} });
  assert.equal(picked.best, twins[0]);
});

Deno.test("pickFastest() changes its mind only for more than the margin", async () => {
  const fake = fakeMeasurements();
  const pick = async (candidates: readonly number[]) =>
    (await pickFastest(candidates, { ...fake.options(1e4), margin: 0.1 })).best;
  assert.equal(await pick([100, 91]), 100);
  assert.equal(await pick([100, 89]), 89);
  assert.equal(await pick([100, 91, 89, 85]), 89);
});

Deno.test("pickFastest() begins no measurement that would exceed its budget", async () => {
  const times = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(times, fc.integer({ min: 0, max: 200 }), async (candidates, budgetMs) => {
      const fake = fakeMeasurements();
      const { best, ms, measured } = await pickFastest(candidates, fake.options(budgetMs));
      const seen = candidates.slice(0, measured);
      if (measured === 0) {
        assert.deepEqual([budgetMs, best, ms], [0, candidates[0], Infinity]);
        return;
      }
      assert.deepEqual([best, ms], [Math.min(...seen), Math.min(...seen)]);
      // Only the last may be longer than all before it.
      const before = seen.slice(0, -1).reduce((a, b) => a + b, 0);
      const longest = Math.max(0, ...seen.slice(0, -1));
      assert.ok(before + longest < budgetMs);
      if (measured < candidates.length) {
        assert.ok(fake.elapsed() + Math.max(...seen) >= budgetMs);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("pickFastest() goes on without candidates that fail, and takes the first if all do", async () => {
  const some = fakeMeasurements(new Set([3]));
  assert.deepEqual(await pickFastest([5, 3, 9], some.options(100)), {
    best: 5,
    ms: 5,
    measured: 2,
  });
  assert.deepEqual(some.failed, [3]);
  const none = fakeMeasurements(new Set([5, 3]));
  const picked = await pickFastest([5, 3], none.options(100));
  assert.deepEqual(picked, { best: 5, ms: Infinity, measured: 0 });
});

Deno.test("pickFastest() ends with what onFailure() throws, and refuses an empty list", async () => {
  const lost = { ...fakeMeasurements(new Set([5])).options(100) };
  const onFailure = () => {
    throw new Error("the device is gone");
  };
  await assert.rejects(pickFastest([5, 3], { ...lost, onFailure }), /the device is gone/);
  await assert.rejects(pickFastest([], lost), { name: "RangeError", message: /of no candidates/ });
});

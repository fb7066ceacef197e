import assert from "node:assert/strict";
import fc from "fast-check";
import { seededRandom } from "../../common/random.ts";
import { minibatches, partsOf } from "./minibatch.ts";

Deno.test("minibatches() uses each chunk once, in batches of like length", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 0, max: 1000 }),
      (lengths, size, seed) => {
        const batches = minibatches(lengths, size, seededRandom(seed));
        assert.deepEqual(batches.flat().sort((a, b) => a - b), [...lengths.keys()]);
        assert.equal(batches.filter((batch) => batch.length < size).length <= 1, true);
        const ranges = batches.map((batch) => batch.map((i) => lengths[i])).map((found) =>
          [Math.min(...found), Math.max(...found)] as const
        ).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
        ranges.slice(1).forEach(([low], i) => assert.ok(low >= ranges[i][1]));
      },
    ),
    { numRuns: 50, seed: 1 },
  );
});

Deno.test("minibatches() draws anew each time, and the same from the same seed", () => {
  const lengths = new Array<number>(30).fill(5);
  const random = seededRandom(1);
  const [first, second] = [minibatches(lengths, 4, random), minibatches(lengths, 4, random)];
  assert.notDeepEqual(first, second);
  assert.deepEqual(minibatches(lengths, 4, seededRandom(1)), first);
});

Deno.test("partsOf() cuts in order and leaves a short rest", () => {
  assert.deepEqual(partsOf([1, 2, 3, 4, 5], 2), [[1, 2], [3, 4], [5]]);
  assert.deepEqual(partsOf([], 2), []);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { splice } from "./splice.ts";

/** A plan whose 14 numbers all are `value(step)`. */
function plan(steps: number, value: (step: number) => number): Float32Array {
  return Float32Array.from(
    { length: steps * ALOHA_DIM },
    (_, i) => value(Math.floor(i / ALOHA_DIM)),
  );
}

const firstColumn = (targets: Float32Array) =>
  Array.from(targets).filter((_, i) => i % ALOHA_DIM === 0);

Deno.test("splice() changes nothing where both chunks agree about every time", () => {
  // The same straight motion, seen by an observation four steps later.
  const { targets, boundary, skipped } = splice({
    remaining: plan(3, (step) => 7 + step),
    next: plan(10, (step) => 6 + step),
    elapsed: 1,
  });
  assert.deepEqual(firstColumn(targets), [7, 8, 9, 10, 11, 12, 13, 14, 15]);
  assert.equal(boundary, 3);
  assert.equal(skipped, 4);
});

Deno.test("splice() fades from the old chunk to the new one", () => {
  const { targets } = splice({
    remaining: plan(3, () => 0),
    next: plan(6, () => 4),
    elapsed: 1,
  });
  assert.deepEqual(firstColumn(targets), [1, 2, 3, 4, 4]);
});

Deno.test("splice() without old steps leaves out what belongs to the past, and no more", () => {
  const { targets, boundary, skipped } = splice({
    remaining: plan(0, () => 0),
    next: plan(5, (step) => step),
    elapsed: 2,
  });
  assert.deepEqual(firstColumn(targets), [2, 3, 4]);
  assert.deepEqual([boundary, skipped], [0, 2]);
});

Deno.test("splice() executes the last step of a chunk that comes too late for all others", () => {
  const { targets, skipped } = splice({
    remaining: plan(2, () => 0),
    next: plan(3, (step) => 3 * step),
    elapsed: 9,
  });
  assert.deepEqual(firstColumn(targets), [2, 4, 6]);
  assert.equal(skipped, 2);
});

Deno.test("splice() jumps no farther at its seam than the chunks differ, shared out over the fade", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 8 }),
    fc.integer({ min: 0, max: 6 }),
    fc.float({ min: -1, max: 1, noNaN: true }),
    (left, elapsed, offset) => {
      const slope = 0.01;
      const { targets } = splice({
        remaining: plan(left, (step) => slope * (elapsed + step)),
        next: plan(20, (step) => slope * step + offset),
        elapsed,
      });
      const column = firstColumn(targets);
      const largest = Math.max(...column.slice(1).map((value, i) => Math.abs(value - column[i])));
      assert.ok(largest <= slope + Math.abs(offset) / (left + 1) + 1e-6, `${largest}`);
    },
  ));
});

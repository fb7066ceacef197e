import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { FADE_STEPS, splice } from "./splice.ts";

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
    last: plan(1, () => 6),
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
    last: plan(1, () => 0),
    remaining: plan(4, () => 0),
    next: plan(7, () => 1),
    elapsed: 1,
  });
  const column = firstColumn(targets);
  const half = column.slice(0, 4).map((value) => Math.round(1000 * value) / 1000);
  assert.deepEqual(half, [0.104, 0.352, 0.648, 0.896]);
  assert.deepEqual(column.slice(4), [1, 1]);
});

Deno.test("splice() goes on from where the old chunk has ended, and leaves the past out", () => {
  const { targets, boundary, skipped } = splice({
    last: plan(1, () => 10),
    remaining: plan(0, () => 0),
    next: plan(9, (step) => step),
    elapsed: 2,
  });
  const column = firstColumn(targets);
  assert.deepEqual([boundary, skipped, column.length], [0, 2, 7]);
  // The difference was 9 at the step before; 90 % of it are left at the first.
  assert.ok(Math.abs(column[0] - (2 + 0.896 * 9)) < 1e-5, `${column[0]}`);
  assert.deepEqual(column.slice(FADE_STEPS), [6, 7, 8]);
});

Deno.test("splice() executes the last step of a chunk that comes too late for all others", () => {
  const { targets, skipped, boundary } = splice({
    last: plan(1, () => 6),
    remaining: plan(2, () => 6),
    next: plan(3, (step) => 3 * step),
    elapsed: 9,
  });
  assert.deepEqual(firstColumn(targets), [6, 6, 6]);
  assert.deepEqual([skipped, boundary], [2, 2]);
});

Deno.test("splice() changes the speed by no more than its share of what the chunks differ by", () => {
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 8 }),
    fc.integer({ min: 1, max: 6 }),
    fc.float({ min: -1, max: 1, noNaN: true }),
    (left, elapsed, offset) => {
      const slope = 0.01;
      const last = plan(1, () => slope * (elapsed - 1));
      const { targets } = splice({
        last,
        remaining: plan(left, (step) => slope * (elapsed + step)),
        next: plan(24, (step) => slope * step + offset),
        elapsed,
      });
      const column = [last[0], ...firstColumn(targets)];
      const changes = column.slice(1).map((value, i) => Math.abs(value - column[i] - slope));
      const steepest = 1.5 / (Math.max(left, FADE_STEPS) + 1);
      assert.ok(Math.max(...changes) <= steepest * Math.abs(offset) + 1e-6, `${changes}`);
      const settled = firstColumn(targets).slice(Math.max(left, FADE_STEPS));
      settled.forEach((value, i) => {
        const step = elapsed + Math.max(left, FADE_STEPS) + i;
        assert.ok(Math.abs(value - (slope * step + offset)) < 1e-6);
      });
    },
  ));
});

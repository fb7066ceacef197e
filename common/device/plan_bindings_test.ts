import assert from "node:assert/strict";
import fc from "fast-check";
import { planBindings } from "./plan_bindings.ts";

const MIB = 2 ** 20;

Deno.test("planBindings() leaves alone what fits one binding", () => {
  assert.deepEqual(planBindings(128 * MIB, 128 * MIB, 256, 1024), [
    { firstRow: 0, rows: 131072, offsetBytes: 0, sizeBytes: 128 * MIB },
  ]);
});

Deno.test("planBindings() splits Gemma's int8 embedding for the software renderer", () => {
  const parts = planBindings(257152 * 2048, 128 * MIB, 32, 2048);
  assert.deepEqual(parts.map((part) => part.rows), [64288, 64288, 64288, 64288]);
});

Deno.test("planBindings() keeps offsets aligned when rows are not", () => {
  const parts = planBindings(12 * 100, 300, 32, 12);
  assert.deepEqual(parts.map((part) => part.rows), [24, 24, 24, 24, 4]);
  assert.ok(parts.every((part) => part.offsetBytes % 32 === 0));
});

Deno.test("planBindings() covers every row once, in aligned parts within the limit, as few as can be", () => {
  const numbers = fc.record({
    rows: fc.integer({ min: 1, max: 5000 }),
    rowBytes: fc.integer({ min: 1, max: 300 }).map((words) => 4 * words),
    maxRows: fc.integer({ min: 1, max: 6000 }),
    spare: fc.integer({ min: 0, max: 3 }),
    alignment: fc.constantFrom(1, 4, 32, 64, 256),
  });
  fc.assert(
    fc.property(numbers, ({ rows, rowBytes, maxRows, spare, alignment }) => {
      const limit = maxRows * rowBytes + spare;
      const plan = () => planBindings(rows * rowBytes, limit, alignment, rowBytes);
      // Fewest rows after which a part may begin, found the slow way.
      let step = 1;
      while ((step * rowBytes) % alignment !== 0) step++;
      if (rows > maxRows && maxRows < step) {
        assert.throws(plan, RangeError);
        return;
      }
      const parts = plan();
      let row = 0;
      for (const part of parts) {
        assert.equal(part.firstRow, row);
        assert.ok(part.rows > 0 && part.sizeBytes <= limit);
        assert.equal(part.sizeBytes, part.rows * rowBytes);
        assert.equal(part.offsetBytes, part.firstRow * rowBytes);
        assert.equal(part.offsetBytes % alignment, 0);
        row += part.rows;
      }
      assert.equal(row, rows);
      const perPart = Math.floor(maxRows / step) * step;
      assert.equal(parts.length, rows <= maxRows ? 1 : Math.ceil(rows / perPart));
    }),
    { numRuns: 300 },
  );
});

Deno.test("planBindings() refuses numbers that make no matrix", () => {
  assert.throws(() => planBindings(100, 1000, 4, 6), {
    name: "RangeError",
    message: "Cannot plan bindings: rowBytes is 6, expected a multiple of 4 above 0",
  });
  assert.throws(() => planBindings(100, 1000, 4, 8), /bytes is 100, expected a multiple of 8/);
  assert.throws(() => planBindings(0, 1000, 4, 8), /bytes is 0/);
  assert.throws(() => planBindings(NaN, 1000, 4, 8), /bytes is NaN/);
  assert.throws(() => planBindings(64, 1000, 0, 8), /alignment is 0/);
  assert.throws(() => planBindings(64, NaN, 4, 8), /at most NaN bytes/);
  assert.throws(() => planBindings(4096, 1000, 4, 1024), {
    name: "RangeError",
    message: "Cannot bind a matrix of 4 rows of 1024 bytes: 1 rows do not fit one binding, which " +
      "takes at most 1000 bytes; split its columns",
  });
});

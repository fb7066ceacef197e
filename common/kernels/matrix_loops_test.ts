import assert from "node:assert/strict";
import fc from "fast-check";
import { makeMatrixLoops } from "./matrix_loops.ts";
import { drawn, relativeError } from "./testing.ts";
import { hasMultiplyAdd, multiplyAddIf } from "./wasm_multiply_add.ts";

/** Whether products are added with one rounding: as many ways as this machine has. */
const WAYS = hasMultiplyAdd() ? [false, true] : [false];
const memory = new WebAssembly.Memory({ initial: 2 });
const LOOPS = WAYS.map((isFused) => makeMatrixLoops(memory, multiplyAddIf(isFused)));

/** Numbers at a place of the memory. */
const numbersAt = (at: number, count: number) => new Float32Array(memory.buffer, at, count);

const side = fc.integer({ min: 1, max: 23 });

Deno.test("multiply() gives c = a · b and c += a · b, turned or not, whatever the sizes", () => {
  fc.assert(
    fc.property(
      fc.record({ rows: side, columns: side, inner: side }),
      fc.record({ a: fc.nat(3), b: fc.nat(3), c: fc.nat(3) }),
      fc.boolean(),
      fc.boolean(),
      (size, gap, isTurned, isSum) => {
        const { rows, columns, inner } = size;
        const [linesA, widthA] = isTurned ? [inner, rows] : [rows, inner];
        const a = { at: 16, row: 4 * (widthA + gap.a), isTurned };
        const b = { at: a.at + linesA * a.row, row: 4 * (columns + gap.b) };
        const c = { at: b.at + inner * b.row, row: 4 * (columns + gap.c) };
        const end = c.at + rows * c.row;
        const before = drawn(1, end / 4);
        const at = (x: { at: number; row: number }, i: number, j: number) =>
          x.at / 4 + i * x.row / 4 + j;
        const expected = Float64Array.from(before);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            let sum = isSum ? before[at(c, i, j)] : 0;
            for (let k = 0; k < inner; k++) {
              sum += before[isTurned ? at(a, k, i) : at(a, i, k)] * before[at(b, k, j)];
            }
            expected[at(c, i, j)] = sum;
          }
        }
        for (const { multiply } of LOOPS) {
          numbersAt(0, before.length).set(before);
          multiply(a, b, c, size, isSum);
          // What lies between and before the rows is as it was.
          assert.ok(relativeError(numbersAt(0, before.length), expected) < 1e-5);
        }
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("transpose() moves every number and no other", () => {
  const [{ transpose }] = LOOPS;
  fc.assert(
    fc.property(side, side, fc.nat(3), (rows, columns, gap) => {
      const from = drawn(2, rows * columns);
      const to = { at: 4 * from.length, row: 4 * (rows + gap) };
      const out = numbersAt(to.at, columns * (rows + gap));
      numbersAt(0, from.length).set(from);
      out.fill(-1);
      transpose(0, to, rows, columns);
      const expected = new Float32Array(out.length).fill(-1);
      from.forEach((x, n) => {
        expected[n % columns * (rows + gap) + Math.floor(n / columns)] = x;
      });
      assert.deepEqual(out, expected);
    }),
    { numRuns: 50 },
  );
});

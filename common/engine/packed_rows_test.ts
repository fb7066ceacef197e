import assert from "node:assert/strict";
import fc from "fast-check";
import { dequantizeTensor, quantizeTensor } from "../quant/quantized_tensor.ts";
import { packMatrices } from "../quant/packed_matrix.ts";
import { floatRows, paddedColumns, reorderRows, toFloats, weightWords } from "./packed_rows.ts";
import { noise } from "./testing.ts";

const layoutOf = (outer: number, contraction: number, inner: number) => ({
  outer,
  contraction,
  inner,
  outerAxes: 1,
  contractionAxes: 1,
});
const size = fc.integer({ min: 1, max: 70 });

Deno.test("floatRows() transposes matrices of any size and pads their rows with zeros", () => {
  fc.assert(
    fc.property(size, size, fc.integer({ min: 1, max: 3 }), (C, I, count) => {
      const data = noise(C, (count + 1) * C * I);
      const rows = floatRows(data, layoutOf(count + 1, C, I), 1, count);
      assert.deepEqual([rows.bits, rows.rows, rows.columns], [32, count * I, C]);
      assert.equal(rows.words.length, rows.rows * weightWords(32, C).values);
      assert.equal(rows.scales.length, 0);
      const floats = toFloats(rows);
      for (let row = 0; row < rows.rows; row++) {
        const matrix = 1 + Math.floor(row / I);
        for (let c = 0; c < C; c++) {
          assert.equal(floats[row * C + c], data[(matrix * C + c) * I + row % I]);
        }
        const end = (row + 1) * paddedColumns(C);
        assert.ok(rows.words.subarray(end - paddedColumns(C) + C, end).every((w) => w === 0));
      }
    }),
    { numRuns: 30 },
  );
});

Deno.test("toFloats() gives packed weights as dequantizeTensor() does", () => {
  for (const bits of [8, 4] as const) {
    const layout = layoutOf(1, 45, 3);
    const tensor = quantizeTensor(
      { name: "test", shape: [1, 45, 3], data: noise(1, 135) },
      layout,
      bits,
    );
    const expected = floatRows(dequantizeTensor(tensor).data, layout, 0, 1);
    assert.deepEqual(toFloats(packMatrices(tensor, 0, 1)), toFloats(expected));
  }
});

Deno.test("reorderRows() moves rows of floats as it moves packed ones", () => {
  const rows = floatRows(noise(2, 5 * 33), layoutOf(1, 33, 5), 0, 1);
  const reversed = reorderRows(rows, (row) => 4 - row);
  const [before, after] = [toFloats(rows), toFloats(reversed)];
  assert.deepEqual(after.slice(0, 33), before.slice(4 * 33));
  assert.deepEqual(reorderRows(reversed, (row) => 4 - row), rows);
});

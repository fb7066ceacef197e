import assert from "node:assert/strict";
import { packMatrices, rowWords, unpackRows } from "../quant/packed_matrix.ts";
import { type Bits, quantizeTensor } from "../quant/quantized_tensor.ts";
import { makeQuantizedLoops, SCRATCH_ROWS } from "./quantized_simd.ts";
import { drawn, relativeError } from "./testing.ts";
import { hasMultiplyAdd } from "./wasm_multiply_add.ts";

/** 64 KiB. */
const PAGE = 1 << 16;

for (const bits of [8, 4] as const) {
  Deno.test(`multiply() in ${bits} bits gives the same with and without a fused sum`, () => {
    const [m, rows, columns] = [7, 5, 77];
    const expected = products(bits, m, rows, columns, undefined);
    for (const isFused of hasMultiplyAdd() ? [false, true] : [false]) {
      const found = products(bits, m, rows, columns, isFused);
      assert.ok(relativeError(found, expected) < 1e-6, `fused: ${isFused}`);
    }
  });
}

/** x · Wᵀ by the loops, or in float64 if `isFused` is left open. */
function products(bits: Bits, m: number, rows: number, columns: number, isFused?: boolean) {
  const layout = { outer: rows, contraction: columns, inner: 1, outerAxes: 1, contractionAxes: 1 };
  const tensor = { name: "w", shape: [rows, columns], data: drawn(1, rows * columns) };
  const weights = packMatrices(quantizeTensor(tensor, layout, bits), 0, rows);
  const x = drawn(2, m * columns);
  if (isFused === undefined) {
    const values = new Float32Array(rows * columns);
    unpackRows(weights, 0, rows, values);
    return Float64Array.from({ length: m * rows }, (_, at) => {
      const [i, n] = [Math.floor(at / rows), at % rows];
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[i * columns + k] * values[n * columns + k];
      return sum;
    });
  }
  const memory = new WebAssembly.Memory({ initial: 1 });
  let end = 0;
  const place = (bytes: number) => {
    const at = end;
    end = Math.ceil((end + bytes) / 16) * 16;
    assert.ok(end <= PAGE);
    return at;
  };
  const put = (values: Int32Array | Float32Array) => {
    const at = place(values.byteLength);
    new Uint8Array(memory.buffer).set(new Uint8Array(values.buffer), at);
    return at;
  };
  const groups = Math.ceil(columns / 32);
  const places = {
    x: put(x),
    m,
    columns,
    words: put(weights.words),
    scales: put(weights.scales),
    scaleStride: 4 * rowWords(bits, columns).scales,
    rows,
    scratch: place(4 * SCRATCH_ROWS * groups * 32),
    y: place(4 * m * rows),
  };
  makeQuantizedLoops(memory, isFused).multiply(bits, places);
  return new Float32Array(memory.buffer, places.y, m * rows);
}

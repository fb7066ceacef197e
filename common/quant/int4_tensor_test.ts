import assert from "node:assert/strict";
import fc from "fast-check";
import { normal, seededRandom } from "../random.ts";
import { packMatrices, unpackRows } from "./packed_matrix.ts";
import { dequantizeTensor, quantizedBytes, quantizeTensor } from "./quantized_tensor.ts";

const stack = (outer: number, contraction: number, inner: number) => ({
  outer,
  contraction,
  inner,
  outerAxes: 1,
  contractionAxes: 1,
});

function drawn(seed: number, count: number, magnitude: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => magnitude * normal(random));
}

const sizes = fc.record({
  outer: fc.integer({ min: 1, max: 3 }),
  contraction: fc.integer({ min: 1, max: 70 }),
  inner: fc.integer({ min: 1, max: 70 }),
  magnitude: fc.constantFrom(1e-6, 1e-3, 0.02, 1, 300),
  seed: fc.nat(1000),
});

Deno.test("quantizeTensor() in 4 bits keeps every number within half a scale", () => {
  fc.assert(
    fc.property(sizes, ({ outer, contraction, inner, magnitude, seed }) => {
      const data = drawn(seed, outer * contraction * inner, magnitude);
      const host = { name: "w", shape: [outer, contraction, inner], data };
      const tensor = quantizeTensor(host, stack(outer, contraction, inner), 4);
      const back = dequantizeTensor(tensor);
      const groups = Math.ceil(contraction / 32);
      assert.equal(quantizedBytes(tensor), outer * inner * groups * (16 + 2));
      for (let at = 0; at < data.length; at++) {
        const i = at % inner;
        const c = Math.floor(at / inner) % contraction;
        const o = Math.floor(at / inner / contraction);
        const scale = tensor.scales[(o * inner + i) * groups + Math.floor(c / 32)];
        const error = Math.abs(back.data[at] - data[at]);
        assert.ok(error <= 0.5001 * scale + 1e-12, `${data[at]} became ${back.data[at]}`);
      }
    }),
    { numRuns: 40 },
  );
});

Deno.test("quantizeTensor() in 4 bits gives about 10 % relative error on normal weights", () => {
  const data = drawn(1, 64 * 256, 0.02);
  const back = dequantizeTensor(
    quantizeTensor({ name: "w", shape: [64, 256], data }, stack(64, 256, 1), 4),
  ).data;
  const norm = (x: Float32Array) => Math.hypot(...x);
  const error = norm(data.map((x, i) => x - back[i])) / norm(data);
  assert.ok(error > 0.08 && error < 0.11, `${error}`);
});

Deno.test("quantizeTensor() in 4 bits refuses numbers that are not finite", () => {
  for (const bad of [NaN, Infinity, 1e30]) {
    const data = new Float32Array(64);
    data[40] = bad;
    const host = { name: "w", shape: [1, 64, 1], data };
    assert.throws(() => quantizeTensor(host, stack(1, 64, 1), 4), {
      name: "RangeError",
      message: /^Cannot quantise w: /,
    });
  }
});

Deno.test("packMatrices() lays rows of outputs out, whatever the bits and sizes", () => {
  fc.assert(
    fc.property(sizes, fc.constantFrom(8 as const, 4 as const), (size, bits) => {
      const { outer, contraction, inner, magnitude, seed } = size;
      const data = drawn(seed, outer * contraction * inner, magnitude);
      const host = { name: "w", shape: [outer, contraction, inner], data };
      const tensor = quantizeTensor(host, stack(outer, contraction, inner), bits);
      const expected = dequantizeTensor(tensor).data;
      const first = outer - 1;
      const packed = packMatrices(tensor, first, 1);
      assert.equal(packed.words.length % 4, 0, "groups are whole vectors of four words");
      const rows = new Float32Array(inner * contraction);
      unpackRows(packed, 0, inner, rows);
      for (let i = 0; i < inner; i++) {
        for (let c = 0; c < contraction; c++) {
          assert.equal(
            rows[i * contraction + c],
            expected[(first * contraction + c) * inner + i],
          );
        }
      }
    }),
    { numRuns: 40 },
  );
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { normal, seededRandom } from "../random.ts";
import { createInt8Tensor, dequantize, int8Bytes, quantizeMatrix } from "./int8_tensor.ts";
import { matrixLayout } from "./matrix_layout.ts";

const stack = (outer: number, contraction: number, inner: number) => ({
  outer,
  contraction,
  inner,
  outerAxes: 1,
  contractionAxes: 1,
});

function roundTrip(data: Float32Array, outer: number, contraction: number, inner: number) {
  const shape = [outer, contraction, inner];
  const tensor = createInt8Tensor("w", shape, stack(outer, contraction, inner));
  for (let matrix = 0; matrix < outer; matrix++) {
    quantizeMatrix(data, matrix * contraction * inner, matrix, tensor);
  }
  return { tensor, back: dequantize(tensor) };
}

Deno.test("quantizeMatrix() keeps every number within half a scale, whatever its size", () => {
  const sizes = fc.record({
    outer: fc.integer({ min: 1, max: 3 }),
    contraction: fc.integer({ min: 1, max: 70 }),
    inner: fc.integer({ min: 1, max: 5 }),
    magnitude: fc.constantFrom(1e-9, 1e-6, 1e-3, 0.02, 1, 300),
    seed: fc.nat(1000),
  });
  fc.assert(
    fc.property(sizes, ({ outer, contraction, inner, magnitude, seed }) => {
      const random = seededRandom(seed);
      const data = Float32Array.from(
        { length: outer * contraction * inner },
        () => magnitude * normal(random),
      );
      const { tensor, back } = roundTrip(data, outer, contraction, inner);
      const groups = Math.ceil(contraction / 32);
      assert.equal(tensor.scales.length, outer * groups * inner);
      for (let at = 0; at < data.length; at++) {
        const i = at % inner;
        const c = Math.floor(at / inner) % contraction;
        const o = Math.floor(at / inner / contraction);
        const scale = tensor.scales[(o * groups + Math.floor(c / 32)) * inner + i];
        const error = Math.abs(back.data[at] - data[at]);
        assert.ok(error <= 0.5001 * scale + 1e-12, `${data[at]} became ${back.data[at]}`);
        assert.ok(Math.abs(tensor.values[at]) <= 127);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("quantizeMatrix() leaves zeros zero and half-precision's smallest numbers in range", () => {
  const { back, tensor } = roundTrip(new Float32Array(64), 1, 64, 1);
  assert.ok(back.data.every((x) => x === 0));
  assert.equal(int8Bytes(tensor), 64 + 2 * 2);
  for (const tiny of [2 ** -24, 1e-7, 3e-6, 1e-5]) {
    const values = Float32Array.from({ length: 32 }, (_, i) => tiny * (i - 15) / 16);
    const { tensor } = roundTrip(values, 1, 32, 1);
    assert.ok(tensor.values.every((q) => q >= -127 && q <= 127));
  }
});

Deno.test("quantizeMatrix() gives about 0.5 % relative error on normal weights", () => {
  const random = seededRandom(3);
  const data = Float32Array.from({ length: 64 * 512 }, () => 0.02 * normal(random));
  const { back } = roundTrip(data, 1, 512, 64);
  let error = 0;
  let power = 0;
  data.forEach((x, i) => {
    error += (x - back.data[i]) ** 2;
    power += x ** 2;
  });
  const relative = Math.sqrt(error / power);
  assert.ok(relative > 0.003 && relative < 0.007, `relative error ${relative}`);
});

Deno.test("quantizeMatrix() refuses numbers that are not finite or too large", () => {
  for (const bad of [NaN, Infinity, -Infinity, 1e9]) {
    for (const inner of [1, 2]) {
      const data = new Float32Array(32 * inner).fill(1);
      data[5] = bad;
      data[31] = 2;
      assert.throws(() => roundTrip(data, 1, 32, inner), {
        name: "RangeError",
        message: /^Cannot quantise w: its greatest magnitude in a group is /,
      });
    }
  }
});

Deno.test("matrixLayout() groups along the summed axis and leaves small arrays alone", () => {
  const of = (name: string, shape: number[]) => {
    const layout = matrixLayout(`PaliGemma/${name}`, shape);
    return layout && [layout.outer, layout.contraction, layout.inner];
  };
  assert.deepEqual(of("llm/embedder/input_embedding", [90, 64]), [90, 64, 1]);
  assert.deepEqual(of("llm/layers/attn/q_einsum/w", [3, 4, 64, 16]), [12, 64, 16]);
  assert.deepEqual(of("llm/layers/attn/kv_einsum/w", [3, 2, 1, 64, 16]), [6, 64, 16]);
  assert.deepEqual(of("llm/layers/attn/attn_vec_einsum/w", [3, 4, 16, 64]), [3, 64, 64]);
  assert.deepEqual(of("llm/layers/mlp/gating_einsum", [3, 2, 64, 192]), [6, 64, 192]);
  assert.deepEqual(of("img/Transformer/encoderblock/A_0/out/kernel", [2, 4, 16, 64]), [2, 64, 64]);
  assert.deepEqual(of("img/head/kernel", [64, 32]), [1, 64, 32]);
  for (const name of ["llm/final_norm/scale", "img/pos_embedding", "img/embedding/kernel"]) {
    assert.equal(of(name, [64]), undefined);
  }
  assert.equal(of("llm/layers/mlp/gating_einsum_lora_a", [3, 2, 64, 4]), undefined);
});

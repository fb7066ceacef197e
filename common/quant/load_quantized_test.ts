import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { InMemorySource } from "../checkpoint/names/testing.ts";
import { planBackbone } from "../checkpoint/recognise.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { createInt8Tensor, dequantize, quantizeMatrix } from "./int8_tensor.ts";
import { loadQuantized } from "./load_quantized.ts";
import { matrixLayout } from "./matrix_layout.ts";

const target = { bits: 8 } as const;
const specs = backboneSpecs(MICRO);
const tensors = [...drawEverything(specs, 3).values()];
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));

Deno.test("loadQuantized() gives the same numbers whatever blocks the file has", async () => {
  const results = [];
  for (const blockSide of [1000, 32, 8, 3]) {
    for (const isReversed of [false, true]) {
      const source = new InMemorySource(tensors, { blockSide, isReversed });
      results.push(await loadQuantized(source, planBackbone(source, MICRO, wanted).mapped, target));
    }
  }
  const [first, ...others] = results;
  for (const other of others) assert.ok(isDeepStrictEqual(other, first));
  assert.equal(first.matrices.size + first.floats.size, specs.length);
  for (const { name, shape, data } of tensors) {
    const layout = matrixLayout(name, shape);
    if (layout === undefined) {
      assert.deepEqual(first.floats.get(name), { name, shape, data });
      continue;
    }
    const expected = createInt8Tensor(name, shape, layout);
    const { contraction: rows, inner: columns, outer } = layout;
    for (let matrix = 0; matrix < outer; matrix++) {
      quantizeMatrix(data, matrix * rows * columns, matrix, expected);
    }
    assert.ok(isDeepStrictEqual(first.matrices.get(name), expected), name);
    const back = dequantize(expected);
    assert.deepEqual([back.name, back.shape, back.data.length], [name, shape, data.length]);
  }
});

Deno.test("loadQuantized() reports progress that ends at the number of weights", async () => {
  const source = new InMemorySource(tensors);
  const steps: { done: number; total: number }[] = [];
  await loadQuantized(
    source,
    planBackbone(source, MICRO, wanted).mapped,
    target,
    (step) => steps.push(step),
  );
  const total = tensors.reduce((sum, { data }) => sum + data.length, 0);
  assert.equal(steps.at(-1)?.done, total);
  assert.ok(
    steps.every((step, i) => step.total === total && step.done > (steps[i - 1]?.done ?? 0)),
  );
});

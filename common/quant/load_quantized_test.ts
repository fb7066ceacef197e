import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { InMemorySource } from "../checkpoint/names/testing.ts";
import { planBackbone } from "../checkpoint/recognise.ts";
import { backboneSpecs } from "../policy/parameters.ts";
import { drawEverything, MICRO } from "../policy/testing.ts";
import { loadQuantized } from "./load_quantized.ts";
import { matrixLayout } from "./matrix_layout.ts";
import { dequantizeTensor, quantizeTensor } from "./quantized_tensor.ts";

const target = { bits: 8 } as const;
const specs = backboneSpecs(MICRO);
const tensors = [...drawEverything(specs, 3).values()];
const wanted = specs.map(({ path, shape }) => ({ name: path, shape }));

for (const bits of [8, 4] as const) {
  Deno.test(`loadQuantized() gives the same ${bits} bits whatever blocks the file has`, async () => {
    const results = [];
    for (const blockSide of [1000, 32, 8, 3]) {
      for (const isReversed of [false, true]) {
        const source = new InMemorySource(tensors, { blockSide, isReversed });
        const { mapped } = planBackbone(source, MICRO, wanted);
        results.push(await loadQuantized(source, mapped, { bits }));
      }
    }
    const [first, ...others] = results;
    for (const other of others) assert.ok(isDeepStrictEqual(other, first));
    assert.equal(first.matrices.size + first.floats.size, specs.length);
    for (const tensor of tensors) {
      const { name, shape, data } = tensor;
      const layout = matrixLayout(name, shape);
      if (layout === undefined) {
        assert.deepEqual(first.floats.get(name), tensor);
        continue;
      }
      const expected = quantizeTensor(tensor, layout, bits);
      assert.ok(isDeepStrictEqual(first.matrices.get(name), expected), name);
      const back = dequantizeTensor(expected);
      assert.deepEqual([back.name, back.shape, back.data.length], [name, shape, data.length]);
    }
  });
}

Deno.test("loadQuantized() leaves kinds of matrices in float32 that are not asked for", async () => {
  const source = new InMemorySource(tensors);
  const { mapped } = planBackbone(source, MICRO, wanted);
  const { matrices, floats } = await loadQuantized(source, mapped, { bits: 4, kinds: ["mlp"] });
  assert.deepEqual([...matrices.keys()].sort(), [
    "PaliGemma/llm/layers/mlp/gating_einsum",
    "PaliGemma/llm/layers/mlp/linear",
  ]);
  assert.equal(floats.size, specs.length - 2);
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

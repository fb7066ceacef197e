import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { makePolicy } from "../policy/testing.ts";
import { dequantizeTensor } from "../quant/quantized_tensor.ts";
import { seededRandom } from "../random.ts";
import { engineModelOf } from "./engine_model.ts";
import { randomWeights } from "./random_weights.ts";

Deno.test("randomWeights() gives every array its shape and matrices their size", async () => {
  await useDevice("cpu");
  using policy = makePolicy();
  for (const bits of [8, 4] as const) {
    const { matrices, floats } = randomWeights(engineModelOf(policy), bits, seededRandom(1));
    assert.equal(matrices.size + floats.size, 9 + 6);
    for (const tensor of matrices.values()) {
      const { data, shape } = dequantizeTensor(tensor);
      assert.equal(data.length, shape.reduce((a, b) => a * b, 1));
      const squares = data.reduce((sum, x) => sum + x * x, 0) / data.length;
      const spread = Math.sqrt(squares * tensor.layout.contraction);
      assert.ok(Math.abs(spread - 1) < 0.1, `${tensor.name}: ${spread}`);
    }
  }
});

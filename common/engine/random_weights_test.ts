import assert from "node:assert/strict";
import { useDevice } from "../policy/backend.ts";
import { makePolicy, MICRO_LORA } from "../policy/testing.ts";
import { dequantizeTensor } from "../quant/quantized_tensor.ts";
import { seededRandom } from "../random.ts";
import { engineModelOf } from "./engine_model.ts";
import { randomWeights } from "./random_weights.ts";

Deno.test("randomWeights() gives every array its shape and matrices their size", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ variant: MICRO_LORA });
  const model = engineModelOf(policy);
  for (const precision of ["int8", "int4", "float32"] as const) {
    const { matrices, floats } = randomWeights(model, { precision }, seededRandom(1));
    assert.equal(matrices.size, precision === "float32" ? 0 : 6);
    assert.equal(matrices.size + floats.size, 9 + 10 + 6);
    for (const tensor of matrices.values()) {
      const { data, shape } = dequantizeTensor(tensor);
      assert.equal(data.length, shape.reduce((a, b) => a * b, 1));
      const squares = data.reduce((sum, x) => sum + x * x, 0) / data.length;
      const spread = Math.sqrt(squares * tensor.layout.contraction);
      assert.ok(Math.abs(spread - 1) < 0.1, `${tensor.name}: ${spread}`);
    }
  }
});

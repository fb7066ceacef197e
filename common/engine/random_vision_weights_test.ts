import assert from "node:assert/strict";
import { dequantizeTensor } from "../quant/quantized_tensor.ts";
import { seededRandom } from "../random.ts";
import { randomVisionWeights } from "./random_vision_weights.ts";
import { visionShapes } from "./vision_shapes.ts";
import { ODD } from "./vision_testing.ts";

Deno.test("randomVisionWeights() gives every array its shape and matrices their size", () => {
  const shapes = visionShapes(ODD);
  for (const precision of ["float32", "int8", "int4"] as const) {
    const storage = { precision, quantized: ["visionMlp", "visionHead"] } as const;
    const { matrices, floats } = randomVisionWeights(ODD, storage, seededRandom(1));
    assert.equal(matrices.size, precision === "float32" ? 0 : 3);
    for (const [path, shape] of shapes) {
      const tensor = matrices.get(path);
      const { data } = tensor ? dequantizeTensor(tensor) : floats.get(path)!;
      assert.equal(data.length, shape.reduce((a, b) => a * b, 1));
      if (!path.endsWith("/kernel")) continue;
      const squares = data.reduce((sum, x) => sum + x * x, 0) / data.length;
      const inputs = path.endsWith("embedding/kernel")
        ? 7 * 7 * 3
        : path.endsWith("Dense_1/kernel")
        ? 37
        : 40;
      assert.ok(Math.abs(Math.sqrt(squares * inputs) - 1) < 0.1, `${precision} ${path}`);
    }
    assert.ok(
      floats.get("PaliGemma/img/Transformer/encoder_norm/scale")!.data.every((x) => x === 1),
    );
  }
});

import assert from "node:assert/strict";
import { openAny } from "../device/testing.ts";
import { VARIANTS } from "../policy/variants.ts";
import { seededRandom } from "../random.ts";
import { CAMERA_NAMES } from "../types.ts";
import { chunkArithmetic } from "./arithmetic.ts";
import { benchVision, visionLines } from "./bench_vision.ts";
import { randomVisionWeights } from "./random_vision_weights.ts";
import { hasAdapter } from "./testing.ts";
import { VisionEncoder } from "./vision_encoder.ts";
import { visionFlops } from "./vision_model.ts";
import { makePictures, ODD, readTokens } from "./vision_testing.ts";

Deno.test({
  name: "benchVision() measures an encoder with random weights, which then goes on as before",
  ignore: !await hasAdapter(),
  async fn() {
    using gpu = await openAny();
    const weights = randomVisionWeights(ODD, { precision: "int8" }, seededRandom(1));
    using encoder = await VisionEncoder.create(gpu, ODD, weights);
    const images = makePictures(1, ODD);
    const read = () => readTokens(gpu.device, encoder, encoder.encode(images).tokens);
    const before = await read();
    assert.ok(before.every(Number.isFinite) && new Set(before).size > 100, "tokens mean something");
    const { dispatches, ...bench } = await benchVision(gpu, encoder, 1);
    assert.equal(dispatches, 4 + 7 * ODD.siglip.depth);
    assert.ok(Object.values(bench).every((n) => Number.isFinite(n) && n > 0));
    assert.equal(bench.flopsPerPicture, visionFlops(ODD, 1));
    assert.equal(visionLines({ dispatches, ...bench }).length, 5);
    assert.deepEqual(await read(), before);
  },
});

Deno.test("visionFlops() agrees with the arithmetic of a whole chunk", () => {
  for (const variant of Object.values(VARIANTS)) {
    const { siglip, gemma } = variant;
    const model = { siglip, width: gemma.width, cameras: CAMERA_NAMES.length };
    const { visionFlops: expected } = chunkArithmetic(variant, { cameras: 2 });
    assert.equal(visionFlops(model, 2), expected);
  }
});

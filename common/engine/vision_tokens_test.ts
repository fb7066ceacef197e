import assert from "node:assert/strict";
import { openAny } from "../device/testing.ts";
import { useDevice } from "../policy/backend.ts";
import { makeObservations, makePolicy } from "../policy/testing.ts";
import { DecodeEngine } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy } from "./testing.ts";
import { VisionEncoder } from "./vision_encoder.ts";
import { visionModelOf } from "./vision_model.ts";
import { visionWeights } from "./vision_testing.ts";

Deno.test({
  name: "VisionEncoder's tokens stay on the GPU on their way into the decode engine",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy();
    const rounding = { bits: 8 } as const;
    const vision = await visionWeights(policy.network.backbone, rounding);
    const language = await quantizePolicy(policy, 8);
    using gpu = await openAny();
    using encoder = await VisionEncoder.create(gpu, visionModelOf(policy), vision);
    using engine = await DecodeEngine.create(gpu, engineModelOf(policy), language);
    const greedy = { temperature: 0, random: () => 0 };
    const [observation] = makeObservations(11, 1);
    const images = Object.values(observation.images);
    const expected = await decodeWithTfjs(policy, observation, greedy);
    const { prompt, forced } = expected.prefix;
    const { maxTokens } = expected;
    const sample = () => {
      engine.prefill({ imageTokens: encoder.encode(images).tokens, prompt, forced });
      return engine.sample({ ...greedy, maxTokens });
    };
    const { tokens, logProbs } = await sample();
    assert.deepEqual([...tokens], expected.tokens);
    for (const [i, logProb] of logProbs.entries()) {
      assert.ok(Math.abs(logProb - expected.logProbs[i]) < 1e-3, `token ${i}`);
    }
    // What is not finite anywhere in the encoder comes out as logits that are not.
    const poisons = ["encoder_norm/bias", "LayerNorm_0/scale", "Dense_1/bias", "query/bias"];
    for (const ending of poisons) {
      const [name, good] = [...vision.floats].find(([path]) => path.endsWith(ending))!;
      const data = good.data.map((value, i) => i === 3 ? NaN : value);
      encoder.updateWeights([{ ...good, data }]);
      await assert.rejects(sample(), { name: "NonFiniteError" }, name);
      encoder.updateWeights([good]);
    }
    assert.deepEqual([...(await sample()).tokens], expected.tokens);
  },
});

Deno.test({
  name: "a device that is lost between the image encoder and the decode engine is told as such",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("cpu");
    using policy = makePolicy();
    const vision = await visionWeights(policy.network.backbone);
    const language = await quantizePolicy(policy, 8);
    using gpu = await openAny();
    using encoder = await VisionEncoder.create(gpu, visionModelOf(policy), vision);
    using engine = await DecodeEngine.create(gpu, engineModelOf(policy), language);
    const [{ images }] = makeObservations(12, 1);
    gpu.device.destroy();
    // Nobody has heard of it yet: the commands vanish, and whoever waits for their result is told.
    const { tokens } = encoder.encode(Object.values(images));
    engine.prefill({ imageTokens: tokens, prompt: Int32Array.of(2), forced: Int32Array.of(3) });
    const sampled = engine.sample({ temperature: 0, random: () => 0, maxTokens: 40 });
    await assert.rejects(sampled, { name: "GpuLostError" });
    assert.throws(() => encoder.encode(Object.values(images)), { name: "GpuLostError" });
  },
});

/**
 * How far image tokens from the engine, in each number format, move the policy: KL of the drawing
 * distributions along the same tokens, as `common/policy/precision_gap.ts` has it for weights.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { openAny } from "../device/testing.ts";
import { type PreparedChunks, selectRows } from "../policy/actor_critic.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import { makeObservations, normalSource, take } from "../policy/testing.ts";
import { CAMERA_NAMES } from "../types.ts";
import { matmulFormats } from "./bind_matmul.ts";
import { hasAdapter } from "./testing.ts";
import { VisionEncoder } from "./vision_encoder.ts";
import { visionModelOf } from "./vision_model.ts";
import { readTokens, visionWeights } from "./vision_testing.ts";

const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));
/** What int8 weights may cost as well, in nats a token. */
const MOST_NATS = 0.002;
/** Two float32 programs that sum in another order. */
const EXACT_NATS = 1e-6;

Deno.test({
  name: "image tokens of any format leave the shipped policy's distributions alone",
  ignore: !await hasAdapter(),
  async fn() {
    await useDevice("wasm");
    const { policy } = await loadPolicy(REACH, {
      valueHeadHiddenDim: 16,
      valueInput: "observation",
      maxValueSteps: 8,
      isCriticDetached: true,
      normal: normalSource(1),
    });
    using _policy = policy;
    const model = visionModelOf(policy);
    const observations = makeObservations(21, 6, model.siglip.imageSize);
    const drawn = await policy.sampleActions(observations, { temperature: 0, random: () => 0 });
    const tokens = drawn.map((chunk) => chunk.tokens);
    const prepared = policy.prepareChunks(observations, tokens);
    const vocab = policy.grammar.vocabSize;
    const count = tokens.reduce((sum, { length }) => sum + length, 0);
    const logProbs = async (chunks: PreparedChunks) => {
      const rows = selectRows(chunks, observations.map((_, i) => i));
      return await take(tf.tidy(() => policy.evaluate(rows).logProbs));
    };
    const expected = await logProbs(prepared);
    const steps = expected.length / observations.length / vocab;
    const weights = await visionWeights(policy.network.backbone);
    using gpu = await openAny();
    const { quantized } = policy.shape.variant;
    const cases = matmulFormats(gpu).flatMap((matmul) => [
      { matmul },
      { matmul, storage: { precision: "int8", quantized } as const },
    ]);
    for (const options of cases) {
      using encoder = await VisionEncoder.create(gpu, model, weights, options);
      const imageTokens: Float32Array[] = [];
      for (const { images } of observations) {
        const encoded = encoder.encode(CAMERA_NAMES.map((camera) => images[camera]));
        imageTokens.push(await readTokens(gpu.device, encoder, encoded.tokens));
      }
      const actual = await logProbs({ ...prepared, input: { ...prepared.input, imageTokens } });
      let nats = 0;
      for (const [row, { length }] of tokens.entries()) {
        for (let at = row * steps * vocab; at < (row * steps + length) * vocab; at++) {
          const probability = Math.exp(expected[at]);
          if (probability > 0) nats += probability * (expected[at] - actual[at]);
        }
      }
      const isExact = options.matmul === "float32" && !options.storage;
      const kl = nats / count;
      const said = `${JSON.stringify(options)}: ${kl} nats a token over ${count}`;
      assert.ok(Math.abs(kl) < (isExact ? EXACT_NATS : MOST_NATS), said);
    }
  },
});

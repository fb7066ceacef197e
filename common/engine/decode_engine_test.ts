import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { fileURLToPath } from "node:url";
import { openAny } from "../device/testing.ts";
import type { ActorCritic } from "../policy/actor_critic.ts";
import { useDevice } from "../policy/backend.ts";
import { loadPolicy } from "../policy/load.ts";
import { makeObservations, maxDifference, normalSource, take } from "../policy/testing.ts";
import { valueOf } from "../policy/value_head.ts";
import { DecodeEngine, type EngineOptions } from "./decode_engine.ts";
import { engineModelOf } from "./engine_model.ts";
import { decodeWithTfjs, hasAdapter, quantizePolicy } from "./testing.ts";

const ignore = !await hasAdapter();
const REACH = fileURLToPath(new URL("../pretrained/reach", import.meta.url));
/** Nats a token, and states relative to numbers of about 1. */
const TOLERANCE = 1e-3;

async function compareGreedy(
  policy: ActorCritic,
  count: number,
  options: EngineOptions,
  promptPadding = 0,
): Promise<void> {
  const weights = await quantizePolicy(policy, 8);
  using gpu = await openAny();
  using engine = await DecodeEngine.create(gpu, engineModelOf(policy), weights, options);
  const { imageSize } = policy.shape.variant.siglip;
  for (const observation of makeObservations(3, count, imageSize)) {
    const expected = await decodeWithTfjs(policy, observation);
    const { prefix, maxTokens } = expected;
    engine.prefill({ ...prefix, promptPlaces: prefix.prompt.length + promptPadding });
    const sample = await engine.sample({ temperature: 0, random: () => 0, maxTokens });
    assert.deepEqual([...sample.tokens], expected.tokens);
    assert.ok(maxDifference(sample.logProbs, expected.logProbs) < TOLERANCE, "log-probabilities");
    assert.ok(maxDifference(sample.entropies, expected.entropies) < TOLERANCE, "entropies");
    const state = tf.tensor2d(sample.hidden, [
      engine.model.hiddenSteps,
      policy.shape.variant.gemma.width,
    ]);
    const value = await take(valueOf(policy.network.valueHead, state));
    state.dispose();
    assert.ok(Math.abs(value[0] - expected.value) < TOLERANCE, "values");
  }
}

Deno.test({
  name: "DecodeEngine decodes the shipped policy's chunks as tfjs does",
  ignore,
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
    await compareGreedy(policy, 20, {});
  },
});

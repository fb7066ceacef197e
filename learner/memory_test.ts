/**
 * The arithmetic of memory against what tfjs holds, and training through weights in few bits.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { ActorCritic } from "../common/policy/actor_critic.ts";
import { useDevice } from "../common/policy/backend.ts";
import { backboneSpecs, ParameterStore, valueHeadSpecs } from "../common/policy/parameters.ts";
import {
  ACTION_DIM,
  drawEverything,
  HORIZON,
  makeAssets,
  makeObservations,
  maxDifference,
  MICRO_LORA,
} from "../common/policy/testing.ts";
import { type PolicyVariant, VARIANTS } from "../common/policy/variants.ts";
import { seededRandom } from "../common/random.ts";
import { learnerMemory } from "./memory.ts";
import { trainableVariables } from "./ppo/trainable.ts";
import { type PpoOptions, PpoTrainer } from "./ppo/update.ts";
import { sampleEstimates } from "./testing.ts";

await useDevice("wasm");

const GB = 1e9;
const HIDDEN = 16;

/** A policy with adapters over weights in 8 bits. */
function makeInt8(variant: PolicyVariant): ActorCritic {
  const specs = backboneSpecs(variant);
  const head = valueHeadSpecs(variant.gemma.width, HIDDEN);
  return new ActorCritic(
    {
      variant,
      horizon: HORIZON,
      actionDim: ACTION_DIM,
      maxTokenLen: 64,
      valueHeadHiddenDim: HIDDEN,
      valueInput: "observation",
      maxValueSteps: 8,
      isCriticDetached: true,
    },
    makeAssets(),
    new ParameterStore(specs, drawEverything(specs, 1), { precision: "int8" }),
    new ParameterStore(head, drawEverything(head, 2)),
  );
}

Deno.test("rank-16 adapters of the full model train within 24 GB", () => {
  const full = VARIANTS.gemma_2b_lora;
  const options = { precision: "int8", textTokens: 180, valueHeadHiddenDim: 512 } as const;
  const one = learnerMemory(full, { ...options, microBatchSize: 1 });
  assert.ok(Math.abs(one.frozen - 3.11 * GB) < 0.03 * GB, `${one.frozen}`);
  // 28.4 M numbers of adapters and 1.3 M of the value head, six times.
  assert.ok(Math.abs(one.trained - 0.71 * GB) < 0.03 * GB, `${one.trained}`);
  const four = learnerMemory(full, { ...options, microBatchSize: 4 });
  assert.equal(four.activations, 4 * one.activations);
  assert.ok(one.total < 8 * GB && four.total < 24 * GB, `${one.total}, ${four.total}`);
  const anchored = learnerMemory(full, { ...options, microBatchSize: 4, hasAnchor: true });
  assert.ok(anchored.total < 24 * GB, `${anchored.total}`);
  assert.throws(
    () => learnerMemory(full, { ...options, precision: "float32", microBatchSize: 1 }),
    /^RangeError: Cannot work out the memory of variant gemma_2b_lora in float32/,
  );
  assert.throws(() => learnerMemory(VARIANTS.tiny, { ...options, microBatchSize: 1 }), RangeError);
});

const SIZES: readonly Partial<PolicyVariant["gemma"]>[] = [
  { depth: 3 },
  { depth: 6, width: 64, mlpDim: 256 },
  { depth: 4, heads: 4, headDim: 32, mlpDim: 128 },
];

Deno.test("learnerMemory() is what tfjs holds at its peak, within a third and never less", async () => {
  for (const sizes of SIZES) {
    const variant: PolicyVariant = {
      ...MICRO_LORA,
      siglip: { ...MICRO_LORA.siglip, imageSize: 70 },
      gemma: { ...MICRO_LORA.gemma, ...sizes },
    };
    using policy = makeInt8(variant);
    const batch = 2;
    const observations = makeObservations(1, batch, 70);
    const chunks = await policy.sampleActions(observations, {
      temperature: 1,
      random: seededRandom(1),
    });
    const tokens = chunks.map((chunk) => chunk.tokens);
    const prepared = policy.prepareChunks(observations, tokens);
    const imageTokens = await policy.encodeImages(prepared.input);
    const encoded = { ...prepared, input: { ...prepared.input, imageTokens } };
    const { backbone, critic } = trainableVariables(policy, { trainVision: false });
    const variables = [...backbone, ...critic] as tf.Variable[];
    const loss = () => {
      const { logProb, value } = policy.evaluate(encoded);
      return tf.add(tf.sum(logProb), tf.sum(value)) as tf.Scalar;
    };
    const before = tf.memory().numBytes;
    const { peakBytes } = await tf.profile(() => {
      const { value, grads } = tf.variableGrads(() => tf.tidy(loss), variables);
      tf.dispose(grads);
      return value;
    });
    const { prompts, forced } = prepared.input.ids;
    const longest = (rows: readonly Int32Array[]) => Math.max(...rows.map((row) => row.length));
    const textTokens = longest(prompts) + forced.length + longest(tokens) - 1;
    const plan = learnerMemory(variant, {
      precision: "int8",
      microBatchSize: batch,
      textTokens,
      valueHeadHiddenDim: HIDDEN,
    });
    const gradients = variables.reduce((sum, { size }) => sum + 4 * size, 0);
    const share = (peakBytes - before - gradients) / plan.activations;
    assert.ok(share > 2 / 3 && share < 1.05, `${JSON.stringify(sizes)}: ${share.toFixed(2)}`);
    const stored = policy.network.backbone.bytes + policy.network.valueHead.bytes;
    // Rows of so small a model do not fill their last words.
    const told = plan.frozen + plan.trained / 6;
    assert.ok(stored >= told && stored < 1.05 * told, `${stored} and ${told}`);
  }
});

const OPTIONS: PpoOptions = {
  epochs: 6,
  batchSize: 4,
  microBatchSize: 2,
  learningRate: 3e-3,
  valueLearningRate: 1e-2,
  adamBeta1: 0.9,
  adamBeta2: 0.95,
  adamEpsilon: 1e-8,
  clipRange: 0.2,
  valueClipRange: 0,
  valueLossWeight: 0.5,
  entropyWeight: 0,
  maxGradNorm: 1,
  targetKl: 0,
  klWeight: 0,
  trainVision: false,
  normalizeAdvantages: false,
  decoupled: true,
  temperature: 1,
};

Deno.test("PPO trains adapters and critic through weights in 8 bits, and those stay as they are", async () => {
  using policy = makeInt8(MICRO_LORA);
  const estimates = await sampleEstimates(policy, 4, [1, -1, 2, -2]);
  const logProbs = () =>
    policy.computeActionChunkLogProb(
      estimates.map((e) => e.transition.observation),
      estimates.map((e) => e.transition.tokens),
    );
  const objective = (found: Float32Array) =>
    estimates.reduce((sum, e, i) => sum - e.advantage * found[i], 0);
  const before = await policy.network.backbone.toHost();
  const first = objective(await logProbs());
  using trainer = new PpoTrainer(policy, OPTIONS);
  const early = await trainer.update(estimates, seededRandom(1), { policyVersion: 0 });
  const late = await trainer.update(estimates, seededRandom(2));
  assert.ok(objective(await logProbs()) < first - 0.1, "the loss falls");
  assert.ok(late.valueLoss < early.valueLoss);
  assert.equal(early.gradientSteps, 6);
  assert.ok(early.clipFraction < 1 && early.ratioMax! >= 1);
  const after = await policy.network.backbone.toHost();
  before.forEach(({ name, data }, i) => {
    const moved = maxDifference(data, after[i].data);
    assert.equal(moved > 0, name.includes("lora"), `${name} moved by ${moved}`);
  });
  assert.throws(
    () => new PpoTrainer(policy, { ...OPTIONS, trainVision: true }),
    /^RangeError: Cannot train the image encoder: its matrices are kept in int8; add --no-train-vision/,
  );
});

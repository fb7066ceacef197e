import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { useDevice } from "../common/policy/backend.ts";
import { ACTION_DIM, HORIZON, makeObservations, makePolicy } from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import { buildPostfix } from "../common/tokenizer/prompt.ts";
import { makeChunks } from "../common/tokenizer/testing.ts";
import { imitationLoss, trainImitation } from "./imitation.ts";

await useDevice("wasm");

function makeExamples(policy: ReturnType<typeof makePolicy>, count: number) {
  const observations = makeObservations(3, count);
  const { fast } = policy.assets;
  return makeChunks(5, count, HORIZON, ACTION_DIM).map((chunk, i) => ({
    observation: observations[i],
    tokens: fast.encode(chunk, HORIZON, ACTION_DIM),
  }));
}

const lossOf = (...args: Parameters<typeof imitationLoss>) =>
  tf.tidy(() => imitationLoss(...args).dataSync()[0]);

Deno.test("imitationLoss() is the mean over the tokens of all examples together", () => {
  using policy = makePolicy();
  const [a, b] = makeExamples(policy, 2);
  const { network: { variant, fastVocab }, assets } = policy;
  const { fastSkipTokens, gemma } = variant;
  const mapping = { vocabSize: gemma.vocab, fastSkipTokens, fastVocabSize: fastVocab };
  const [m, n] = [a, b].map((e) => buildPostfix(assets.language, e.tokens, mapping).length);
  const expected = (m * lossOf(policy, [a]) + n * lossOf(policy, [b])) / (m + n);
  const together = lossOf(policy, [a, b]);
  assert.ok(Math.abs(together - expected) < 1e-4, `${together} is not ${expected}`);
});

Deno.test("trainImitation() learns its examples and leaks nothing", async () => {
  using policy = makePolicy();
  const examples = makeExamples(policy, 2);
  const before = lossOf(policy, examples);
  const alive = tf.memory().numTensors;
  const losses: number[] = [];
  await trainImitation(policy, examples, {
    steps: 30,
    batchSize: 2,
    learningRate: 1e-2,
    random: seededRandom(1),
    onStep: (step, loss) => {
      assert.equal(step, losses.length);
      losses.push(loss);
    },
  });
  assert.equal(losses.length, 30);
  assert.equal(tf.memory().numTensors, alive);
  const after = lossOf(policy, examples);
  assert.ok(after < before / 2, `${before} → ${after}`);
});

Deno.test("trainImitation() can ask where things are, which teaches the policy and leaks nothing", async () => {
  using policy = makePolicy();
  const scenes = [[1, 0, -1], [-1, 0.5, 1]].map((numbers) => Float32Array.from(numbers));
  const examples = makeExamples(policy, 2).map((e, i) => ({ ...e, scene: scenes[i] }));
  const before = lossOf(policy, examples);
  const alive = tf.memory().numTensors;
  const losses: number[] = [];
  await trainImitation(policy, examples, {
    steps: 40,
    batchSize: 2,
    learningRate: 1e-2,
    sceneWeight: 10,
    random: seededRandom(1),
    onStep: (_step, loss) => {
      losses.push(loss);
    },
  });
  assert.equal(tf.memory().numTensors, alive);
  // At first the layer says 0: it is wrong by the mean square of the truths, about 0.9.
  assert.ok(losses[0] - before > 5, `${losses[0]} − ${before}`);
  const after = lossOf(policy, examples);
  assert.ok(losses.at(-1)! - after < 1, `${losses.at(-1)} − ${after}`);
  assert.ok(after < before / 2, `${before} → ${after}`);
});

import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { makePolicy, maxDifference, MICRO_LORA } from "../../common/policy/testing.ts";
import { seededRandom } from "../../common/random.ts";
import { sampleEstimates } from "../testing.ts";
import { AdamState } from "./adam_state.ts";
import type { Estimate } from "./gae.ts";
import { type PpoOptions, PpoTrainer } from "./update.ts";

await useDevice("wasm");

const OPTIONS: PpoOptions = {
  epochs: 1,
  batchSize: 4,
  learningRate: 1e-3,
  valueLearningRate: 1e-3,
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
  trainVision: true,
  normalizeAdvantages: false,
  temperature: 1,
};

/** Copies of all weights by path, the backbone's first. */
async function weightsOf({ network }: ActorCritic): Promise<Map<string, Float32Array>> {
  const all = [...await network.backbone.toHost(), ...await network.valueHead.toHost()];
  return new Map(all.map(({ name, data }) => [name, data]));
}

/** Paths whose weights differ. */
function changedPaths(
  before: ReadonlyMap<string, Float32Array>,
  after: ReadonlyMap<string, Float32Array>,
): string[] {
  return [...before].filter(([path, data]) => maxDifference(data, after.get(path)!) > 0)
    .map(([path]) => path);
}

async function logProbsOf(policy: ActorCritic, estimates: readonly Estimate[]) {
  return await policy.computeActionChunkLogProb(
    estimates.map((e) => e.transition.observation),
    estimates.map((e) => e.transition.tokens),
  );
}

/** One update, with its own trainer. */
async function updateOnce(
  policy: ActorCritic,
  estimates: readonly Estimate[],
  changes: Partial<PpoOptions> = {},
  reference?: ActorCritic,
) {
  using trainer = new PpoTrainer(policy, { ...OPTIONS, ...changes }, reference);
  return await trainer.update(estimates, seededRandom(5), { policyVersion: 0 });
}

for (const valueInput of ["observation", "chunk"] as const) {
  Deno.test(`update() recomputes the log-probabilities that were recorded (${valueInput})`, async () => {
    using policy = makePolicy({ valueInput });
    const estimates = await sampleEstimates(policy, 3, [1, -1, 0.5, -0.5]);
    const metrics = await updateOnce(policy, estimates);
    assert.ok(metrics.logProbGap < 1e-4, `gap ${metrics.logProbGap}`);
    assert.ok(Math.abs(metrics.approxKl) < 1e-6, `KL ${metrics.approxKl}`);
    assert.ok(metrics.behaviourGapMax! < 2e-5, `gap of a token ${metrics.behaviourGapMax}`);
    assert.ok(metrics.behaviourGapMean! <= metrics.behaviourGapMax! && metrics.behaviourKl! < 1e-9);
    const tokens = estimates.reduce((sum, e) => sum + e.transition.tokens.length, 0);
    assert.equal(metrics.behaviourGapTokens, tokens);
    assert.equal(metrics.clipFraction, 0);
    assert.equal(metrics.gradientSteps, 1);
    assert.equal(metrics.klToImitation, 0);
    // Every ratio is 1, so the policy loss is minus the mean advantage.
    assert.ok(Math.abs(metrics.policyLoss) < 1e-4, `policy loss ${metrics.policyLoss}`);
    assert.ok(metrics.entropy > 0 && metrics.gradNorm > 0);
  });
}

Deno.test("update() raises what had an advantage and lowers what had a disadvantage", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 4, [1, -1, 2, -2]);
  const before = await logProbsOf(policy, estimates);
  await updateOnce(policy, estimates, { valueLossWeight: 0 });
  const after = await logProbsOf(policy, estimates);
  estimates.forEach(({ advantage }, i) =>
    assert.ok((after[i] - before[i]) * advantage > 0, `chunk ${i}: ${before[i]} → ${after[i]}`)
  );
});

Deno.test("update() moves values towards their targets", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 5, [3, -3, 3, -3]);
  const first = await updateOnce(policy, estimates, { epochs: 4 });
  const later = await updateOnce(policy, estimates, { epochs: 1 });
  assert.ok(later.valueLoss < first.valueLoss, `${first.valueLoss} → ${later.valueLoss}`);
});

Deno.test("update() stops early at the KL bound", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 6, [1, -1, 1, -1]);
  const far = { epochs: 6, batchSize: 2, learningRate: 1e-2 };
  const stopped = await updateOnce(policy, estimates, { ...far, targetKl: 1e-3 });
  assert.equal(stopped.stoppedEarly, 1);
  assert.ok(stopped.gradientSteps < 12, `${stopped.gradientSteps} steps`);
  const patient = await updateOnce(policy, estimates, { ...far, targetKl: 1e6 });
  assert.equal(patient.stoppedEarly, 0);
  assert.equal(patient.gradientSteps, 12);
});

Deno.test("update() skips a batch that is not finite, counts it and keeps the weights", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 7, [NaN, 1]);
  const before = await weightsOf(policy);
  const all = await updateOnce(policy, estimates);
  assert.deepEqual([all.gradientSteps, all.skippedSteps], [0, 1]);
  assert.deepEqual(changedPaths(before, await weightsOf(policy)), []);
  const half = await updateOnce(policy, estimates, { batchSize: 1 });
  assert.deepEqual([half.gradientSteps, half.skippedSteps], [1, 1]);
  const after = await weightsOf(policy);
  assert.ok(changedPaths(before, after).length > 0);
  for (const [path, data] of after) assert.ok(data.every(Number.isFinite), path);
  for (const [name, value] of Object.entries(half)) {
    if (typeof value !== "number" || name === "explainedVariance") continue;
    assert.ok(Number.isFinite(value), `${name} is ${value}`);
  }
});

Deno.test("update() cuts uneven batches and uses every chunk once an epoch", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 8, [1, -1, 1, -1, 1]);
  const metrics = await updateOnce(policy, estimates, { epochs: 2, batchSize: 2 });
  assert.equal(metrics.gradientSteps, 6);
});

Deno.test("update() with a KL weight pulls the policy to its reference", async () => {
  using reference = makePolicy({}, 1);
  using policy = makePolicy({}, 50);
  const estimates = await sampleEstimates(policy, 9, [0, 0, 0, 0]);
  const kept = await weightsOf(reference);
  const changes = { klWeight: 1, valueLossWeight: 0 };
  const first = await updateOnce(policy, estimates, { ...changes, epochs: 5 }, reference);
  const later = await updateOnce(policy, estimates, changes, reference);
  assert.ok(first.klToImitation > 0);
  assert.ok(later.klToImitation < first.klToImitation);
  assert.deepEqual(changedPaths(kept, await weightsOf(reference)), []);
});

Deno.test("PpoTrainer refuses a KL weight without a reference", () => {
  using policy = makePolicy();
  assert.throws(() => new PpoTrainer(policy, { ...OPTIONS, klWeight: 1 }), /needs the imitation/);
});

Deno.test("update() leaves the image encoder alone when it is told to", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 10, [1, -1]);
  const before = await weightsOf(policy);
  await updateOnce(policy, estimates, { trainVision: false });
  const changed = changedPaths(before, await weightsOf(policy));
  assert.deepEqual(changed.filter((path) => path.startsWith("PaliGemma/img/")), []);
  assert.ok(changed.some((path) => path.startsWith("PaliGemma/llm/")));
  assert.ok(changed.some((path) => path.startsWith("dense_0/")));
});

Deno.test("update() trains only adapters, image encoder and critic of a LoRA variant", async () => {
  using policy = makePolicy({ variant: MICRO_LORA });
  const estimates = await sampleEstimates(policy, 11, [1, -1]);
  const before = await weightsOf(policy);
  await updateOnce(policy, estimates);
  const changed = changedPaths(before, await weightsOf(policy));
  const isFrozen = (path: string) => path.startsWith("PaliGemma/llm/") && !path.includes("lora");
  assert.deepEqual(changed.filter(isFrozen), []);
  for (const part of ["lora_a", "lora_b", "PaliGemma/img/", "dense_0/"]) {
    assert.ok(changed.some((path) => path.includes(part)), part);
  }
});

Deno.test("update() leaks no tensor: 50 updates end with as many as 5", async () => {
  const alive = tf.memory().numTensors;
  {
    using reference = makePolicy({}, 2);
    using policy = makePolicy();
    const estimates = await sampleEstimates(policy, 12, [1, NaN]);
    const changes = { klWeight: 0.1, batchSize: 1, maxGradNorm: 0.1 };
    using trainer = new PpoTrainer(policy, { ...OPTIONS, ...changes }, reference);
    let afterFive = 0;
    for (let i = 1; i <= 50; i++) {
      await trainer.update(estimates, seededRandom(i), { policyVersion: 0 });
      if (i === 5) afterFive = tf.memory().numTensors;
    }
    assert.equal(tf.memory().numTensors, afterFive);
  }
  assert.equal(tf.memory().numTensors, alive);
});

Deno.test("AdamState goes on after a restore as if nothing had happened, bit for bit", async () => {
  using policy = makePolicy();
  using copy = makePolicy();
  const estimates = await sampleEstimates(policy, 13, [1, -1]);
  using trainer = new PpoTrainer(policy, OPTIONS);
  assert.deepEqual(await trainer.adam.toHost(), []);
  for (let i = 0; i < 7; i++) await trainer.update(estimates, seededRandom(i));

  using resumed = new PpoTrainer(copy, OPTIONS);
  copy.network.backbone.assign(await policy.network.backbone.toHost());
  copy.network.valueHead.assign(await policy.network.valueHead.toHost());
  resumed.adam.restore(await trainer.adam.toHost(), trainer.adam.steps);
  assert.equal(resumed.adam.steps, 7);
  assert.deepEqual(changedPaths(await weightsOf(policy), await weightsOf(copy)), []);
  for (let i = 7; i < 9; i++) {
    await trainer.update(estimates, seededRandom(i));
    await resumed.update(estimates, seededRandom(i));
    assert.deepEqual(changedPaths(await weightsOf(policy), await weightsOf(copy)), []);
  }
  assert.deepEqual(await resumed.adam.toHost(), await trainer.adam.toHost());
});

Deno.test("AdamState takes the steps of Adam's paper", async () => {
  // Two steps by hand in doubles: m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², both divided by 1 − βᵗ.
  const [rate, beta1, beta2, epsilon] = [0.1, 0.9, 0.95, 1e-8];
  const betas = { adamBeta1: beta1, adamBeta2: beta2, adamEpsilon: epsilon };
  const options = { ...betas, learningRate: rate, valueLearningRate: 2 * rate };
  const variable = tf.variable(tf.tensor1d([1, -2]));
  const untouched = tf.variable(tf.scalar(3));
  const critic = tf.variable(tf.tensor1d([1, -2]));
  using adam = new AdamState(options, [variable, untouched, critic], [critic]);
  const x = [1, -2], m = [0, 0], v = [0, 0];
  for (const [step, g] of [[0.5, -1], [-0.25, 4]].entries()) {
    const gradient = tf.tensor1d(g);
    adam.apply({ [variable.name]: gradient, [critic.name]: gradient });
    gradient.dispose();
    g.forEach((gi, i) => {
      m[i] = beta1 * m[i] + (1 - beta1) * gi;
      v[i] = beta2 * v[i] + (1 - beta2) * gi ** 2;
      const mean = m[i] / (1 - beta1 ** (step + 1));
      const square = v[i] / (1 - beta2 ** (step + 1));
      x[i] -= rate * mean / (Math.sqrt(square) + epsilon);
    });
    assert.ok(maxDifference(await variable.data(), x) < 1e-6);
    // Twice the step size from the same start goes twice as far.
    assert.ok(maxDifference(await critic.data(), [2 * x[0] - 1, 2 * x[1] + 2]) < 1e-6);
  }
  assert.equal((await untouched.data())[0], 3);
  assert.equal(adam.steps, 2);
  tf.dispose([variable, untouched, critic]);
});

Deno.test("AdamState refuses the state of another policy and leaks nothing", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 14, [1]);
  using trainer = new PpoTrainer(policy, OPTIONS);
  await trainer.update(estimates, seededRandom(0));
  const alive = tf.memory().numTensors;
  const state = await trainer.adam.toHost();
  using other = new PpoTrainer(policy, { ...OPTIONS, trainVision: false });
  assert.throws(() => other.adam.restore(state, 1), /Cannot resume: the optimiser's state has \d+/);
  const wrongShape = state.map((t, i) => i === 3 ? { ...t, shape: [1, ...t.shape] } : t);
  assert.throws(() => trainer.adam.restore(wrongShape, 9), /moment 3 of the optimiser has shape/);
  assert.equal(trainer.adam.steps, 1);
  assert.deepEqual(await trainer.adam.toHost(), state);
  trainer.adam.restore(state, 1);
  assert.equal(tf.memory().numTensors, alive);
});

Deno.test("update() compares nothing without chunks of its version, and trains all the same", async () => {
  using policy = makePolicy();
  using trainer = new PpoTrainer(policy, OPTIONS);
  const estimates = await sampleEstimates(policy, 4, [1, -1]);
  for (const version of [undefined, 5]) {
    const metrics = await trainer.update(estimates, seededRandom(1), {
      policyVersion: version,
    });
    const { behaviourGapMean, behaviourGapMax, behaviourKl } = metrics;
    assert.deepEqual([behaviourGapMean, behaviourGapMax, behaviourKl], [null, null, null]);
    assert.deepEqual([metrics.behaviourGapTokens, metrics.behaviourGaps], [0, []]);
    assert.equal(metrics.gradientSteps, 1);
  }
});

Deno.test("update() leaves out a chunk that the policy cannot have sampled", async () => {
  using policy = makePolicy();
  using trainer = new PpoTrainer(policy, OPTIONS);
  const estimates = await sampleEstimates(policy, 4, [1, -1, 1, -1]);
  const [first] = estimates;
  const nonsense = { ...first.transition, tokens: Int32Array.of(0) };
  const metrics = await trainer.update(
    [...estimates, { ...first, transition: nonsense }],
    seededRandom(1),
  );
  assert.equal(metrics.malformedChunks, 1);
  assert.ok(metrics.gradientSteps > 0);
});

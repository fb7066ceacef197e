/**
 * An update's settings, one by one, on chunks that a real policy sampled.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { makePolicy, maxDifference, MICRO_LORA } from "../../common/policy/testing.ts";
import { seededRandom } from "../../common/random.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { sampleEstimates } from "../testing.ts";
import type { Estimate } from "./gae.ts";
import { type PpoOptions, PpoTrainer, type UpdateContext } from "./update.ts";

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

type Weights = ReadonlyMap<string, Float32Array>;

/** Copies of all weights by path; the critic's begin with `value_head/`. */
async function weightsOf({ network }: ActorCritic): Promise<Weights> {
  const head = await network.valueHead.toHost();
  return new Map([
    ...(await network.backbone.toHost()).map(({ name, data }) => [name, data] as const),
    ...head.map(({ name, data }) => [`value_head/${name}`, data] as const),
  ]);
}

/** Paths whose weights differ. */
function changedPaths(before: Weights, after: Weights): string[] {
  return [...before].filter(([path, data]) => maxDifference(data, after.get(path)!) > 0)
    .map(([path]) => path);
}

/** The largest difference of any weight. */
const distance = (a: Weights, b: Weights) =>
  Math.max(...[...a].map(([path, data]) => maxDifference(data, b.get(path)!)));

/** One update of a fresh policy on chunks of a policy like it. */
async function trained(
  changes: Partial<PpoOptions>,
  change: (estimates: Estimate[]) => Estimate[] = (estimates) => estimates,
  context: UpdateContext = {},
) {
  using policy = makePolicy();
  const estimates = change(await sampleEstimates(policy, 3, [1, -1, 0.5, -0.5]));
  const before = await weightsOf(policy);
  using trainer = new PpoTrainer(policy, { ...OPTIONS, ...changes });
  const metrics = await trainer.update(estimates, seededRandom(5), context);
  const after = await weightsOf(policy);
  return { metrics, after, changed: changedPaths(before, after) };
}

/** Change all transitions. */
const withTransitions = (change: (t: ChunkTransition) => Partial<ChunkTransition>) =>
(
  estimates: Estimate[],
): Estimate[] =>
  estimates.map((e) => ({ ...e, transition: { ...e.transition, ...change(e.transition) } }));

/** As if a person had driven. */
const byPerson = withTransitions(() => ({
  driver: "person",
  logProb: 0,
  tokenLogProbs: new Float32Array(0),
}));

/** As if a policy had sampled that liked each token less, by so many nats. */
const lessLikely = (nats: number) =>
  withTransitions(({ tokenLogProbs }) => {
    const recorded = tokenLogProbs.map((logProb) => logProb - nats);
    return { tokenLogProbs: recorded, logProb: recorded.reduce((sum, x) => sum + x, 0) };
  });

for (const ratioLevel of ["chunk", "token"] as const) {
  Deno.test(`decoupled PPO on fresh float data is plain PPO but for rounding (${ratioLevel})`, async () => {
    const changes = { ratioLevel, learningRate: 1e-4 };
    const plain = await trained(changes);
    const caps = { tokenWeightCap: 2, chunkWeightCap: 5 };
    const decoupled = await trained({ ...changes, ...caps, decoupled: true });
    // Adam divides by the gradient's size: where that is rounding, so is the step.
    assert.ok(distance(plain.after, decoupled.after) < 2.1e-4);
    const { metrics } = decoupled;
    assert.ok(Math.abs(metrics.policyLoss - plain.metrics.policyLoss) < 1e-5);
    assert.ok(Math.abs(metrics.gradNorm / plain.metrics.gradNorm - 1) < 1e-4);
    assert.ok(Math.abs(metrics.behaviourRatioMean! - 1) < 1e-4);
    assert.ok(metrics.effectiveSampleSize! > 1 - 1e-6 && metrics.weightsCapped === 0);
    assert.ok(Math.abs(metrics.ratioMean! - 1) < 1e-4 && metrics.clipFraction === 0);
    assert.deepEqual([plain.metrics.behaviourRatioMean, plain.metrics.effectiveSampleSize], [
      null,
      null,
    ]);
  });
}

Deno.test("decoupled PPO clips around the weights before the update, not around stale ones", async () => {
  const stale = lessLikely(0.3);
  const plain = await trained({}, stale);
  // All ratios are far above 1.2 already: what had an advantage is clipped.
  assert.equal(plain.metrics.clipFraction, 1);
  const decoupled = await trained({ decoupled: true, chunkWeightCap: 1.25 }, stale);
  assert.equal(decoupled.metrics.clipFraction, 0);
  assert.ok(Math.abs(decoupled.metrics.ratioMax! - 1) < 1e-4);
  assert.equal(decoupled.metrics.weightsCapped, 1);
  assert.ok(decoupled.metrics.behaviourRatioMean! > 1.3);
  // All weights are at the cap: so many times the loss of fresh data.
  const fresh = await trained({});
  assert.ok(Math.abs(decoupled.metrics.policyLoss - 1.25 * fresh.metrics.policyLoss) < 1e-4);
  const token = { ratioLevel: "token", tokenWeightCap: 1.05 } as const;
  const byToken = await trained({ decoupled: true, ...token }, stale);
  assert.equal(byToken.metrics.weightsCapped, 1);
  assert.ok(Math.abs(byToken.metrics.behaviourRatioMean! - Math.exp(0.3)) < 1e-4);
});

Deno.test("micro-batches take the step of the whole batch, but for rounding", async () => {
  for (
    const changes of [
      { ratioLevel: "chunk" },
      { ratioLevel: "token", decoupled: true, entropyWeight: 0.01 },
    ] as const
  ) {
    const halfByPerson = (estimates: Estimate[]) => [
      ...byPerson(estimates.slice(0, 1)),
      ...estimates.slice(1),
    ];
    const whole = await trained({ ...changes, maxGradNorm: 1e9 }, halfByPerson);
    const parts = await trained({ ...changes, maxGradNorm: 1e9, microBatchSize: 1 }, halfByPerson);
    for (const name of ["policyLoss", "valueLoss", "entropy", "gradNorm"] as const) {
      const [a, b] = [whole.metrics[name], parts.metrics[name]];
      assert.ok(Math.abs(a - b) < 1e-4 * Math.max(1, Math.abs(a)), `${name}: ${a} and ${b}`);
    }
    assert.equal(parts.metrics.gradientSteps, 1);
    assert.ok(distance(whole.after, parts.after) < 2.1e-3);
  }
});

Deno.test("a person's chunks train the critic and nothing else", async () => {
  using policy = makePolicy({ isCriticDetached: true });
  const estimates = byPerson(await sampleEstimates(policy, 3, [1, -1, 0.5, -0.5]));
  const before = await weightsOf(policy);
  using reference = makePolicy({}, 50);
  const options = { ...OPTIONS, entropyWeight: 0.1, klWeight: 1, decoupled: true };
  using trainer = new PpoTrainer(policy, options, reference);
  const metrics = await trainer.update(estimates, seededRandom(1), { policyVersion: 0 });
  const changed = changedPaths(before, await weightsOf(policy));
  assert.ok(changed.length > 0 && changed.every((path) => path.startsWith("value_head/")));
  assert.deepEqual([metrics.personChunks, metrics.gradientSteps, metrics.policyLoss], [4, 1, 0]);
  assert.deepEqual([metrics.ratioMean, metrics.effectiveSampleSize, metrics.logProbGap], [
    null,
    null,
    0,
  ]);
});

Deno.test("a person's chunks leave the policy's loss as it is without them", async () => {
  const mixed = (
    estimates: Estimate[],
  ) => [...byPerson(estimates.slice(0, 2)), ...estimates.slice(2)];
  const with_ = await trained({ decoupled: true }, mixed);
  const without = await trained({ decoupled: true }, (estimates) => estimates.slice(2));
  assert.equal(with_.metrics.policyLoss, without.metrics.policyLoss);
  assert.ok(Math.abs(with_.metrics.entropy - without.metrics.entropy) < 1e-6);
});

Deno.test("a weight on imitation teaches what a person and demonstrations did", async () => {
  using policy = makePolicy({ isCriticDetached: true });
  const [first, ...others] = await sampleEstimates(policy, 3, [0, 0, 0, 0]);
  const person = byPerson([first]);
  const demonstrations = others.slice(2).map(({ transition }) => transition);
  const options = { ...OPTIONS, imitationWeight: 1, valueLossWeight: 0, microBatchSize: 2 };
  using trainer = new PpoTrainer(policy, { ...options, learningRate: 3e-3 });
  const losses = [];
  for (let i = 0; i < 8; i++) {
    const metrics = await trainer.update([...person, ...others.slice(0, 2)], seededRandom(i), {
      demonstrations,
    });
    losses.push(metrics.imitationLoss!);
  }
  assert.ok(losses[7] < 0.9 * losses[0], losses.join());
  const [before, after] = [first, others[2]].map(({ transition: t }) => t).map(async (t) => {
    const [own] = await policy.computeActionChunkLogProb([t.observation], [t.tokens]);
    return own - t.logProb;
  });
  assert.ok(await before > 0 && await after > 0, "both have become likelier");
});

Deno.test("while the critic warms up, nothing but the critic moves", async () => {
  const changes = { entropyWeight: 0.1, imitationWeight: 1 };
  const { metrics, changed } = await trained(changes, undefined, { isCriticAlone: true });
  assert.ok(changed.length > 0 && changed.every((path) => path.startsWith("value_head/")));
  assert.deepEqual([metrics.criticAlone, metrics.gradientSteps], [1, 1]);
  // The first step of Adam after it is as large as any.
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 3, [1, -1]);
  using trainer = new PpoTrainer(policy, OPTIONS);
  for (let i = 0; i < 3; i++) {
    await trainer.update(estimates, seededRandom(i), { isCriticAlone: true });
  }
  const before = await weightsOf(policy);
  await trainer.update(estimates, seededRandom(3));
  const moved = distance(before, await weightsOf(policy));
  assert.ok(moved > 1e-4 && moved < 5e-3, `${moved}`);
});

Deno.test("--train-scope says what is trained", async () => {
  const { changed } = await trained({ trainScope: "value_head" });
  assert.ok(changed.length > 0 && changed.every((path) => path.startsWith("value_head/")));
  using policy = makePolicy({ variant: MICRO_LORA });
  const estimates = await sampleEstimates(policy, 3, [1, -1]);
  const paths = async (changes: Partial<PpoOptions>) => {
    const before = await weightsOf(policy);
    using trainer = new PpoTrainer(policy, { ...OPTIONS, ...changes });
    await trainer.update(estimates, seededRandom(1));
    return changedPaths(before, await weightsOf(policy));
  };
  const adapters = await paths({ trainScope: "lora", trainVision: false });
  assert.ok(adapters.every((path) => path.includes("lora") || path.startsWith("value_head/")));
  const all = await paths({ trainScope: "full", trainVision: false });
  assert.ok(all.includes("PaliGemma/llm/final_norm/scale") && adapters.length < all.length);
  using plain = makePolicy();
  assert.throws(
    () => new PpoTrainer(plain, { ...OPTIONS, trainScope: "lora" }),
    /^RangeError: Cannot train adapters: variant micro has none; set --train-scope to full/,
  );
});

Deno.test("after three steps in a row that are not finite the last good weights come back", async () => {
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 7, [1, -1, 1, -1]);
  using trainer = new PpoTrainer(policy, { ...OPTIONS, batchSize: 1, valueNormalization: true });
  await trainer.update(estimates, seededRandom(0));
  const good = await weightsOf(policy);
  const moments = await trainer.adam.toHost();
  // Something breaks a weight in the middle of a run, and every loss with it.
  const norm = policy.network.backbone.get("PaliGemma/llm/final_norm/scale");
  const breakOnce = trainer.adam.apply.bind(trainer.adam);
  let isBroken = false;
  trainer.adam.apply = (gradients) => {
    breakOnce(gradients);
    if (!isBroken) tf.tidy(() => norm.assign(tf.fill(norm.shape, NaN)));
    isBroken = true;
  };
  const metrics = await trainer.update(estimates, seededRandom(1));
  assert.deepEqual([metrics.gradientSteps, metrics.skippedSteps, metrics.rollbacks], [1, 3, 1]);
  const scaled = new Set(["value_head/out/kernel", "value_head/out/bias"]);
  // But for the last layer, which had been brought to the scale of this update's returns by then.
  const back = changedPaths(good, await weightsOf(policy)).filter((path) => !scaled.has(path));
  assert.deepEqual(back, []);
  assert.deepEqual(await trainer.adam.toHost(), moments);
  assert.equal(trainer.adam.steps, 4);
  assert.deepEqual(trainer.guard, { inARow: 0, skipped: 3, rollbacks: 1 });
  const next = await trainer.update(estimates, seededRandom(2));
  assert.deepEqual([next.gradientSteps, next.skippedSteps], [4, 0]);
});

Deno.test("an update of which nothing can be trained on changes nothing and tells why", async () => {
  const nonsense = withTransitions(() => ({ tokens: Int32Array.of(0) }));
  const { metrics, changed } = await trained({ decoupled: true }, nonsense);
  assert.deepEqual(changed, []);
  assert.deepEqual([metrics.gradientSteps, metrics.malformedChunks], [0, 4]);
  assert.deepEqual(metrics.chunkFaults, { pictures: 0, tokens: 4 });
  assert.match(metrics.firstFault!, /^Cannot train on chunk "episode-0.0": /);
  assert.deepEqual(
    metrics.refusedChunks.map(({ chunkId, reason }) => [chunkId, reason]),
    [0, 1, 2, 3].map((i) => [`episode-${i}.0`, "tokens"]),
  );
  for (const [name, value] of Object.entries(metrics)) {
    if (typeof value === "number") assert.ok(Number.isFinite(value), `${name} is ${value}`);
  }
});

Deno.test("with a KL target the weight follows the KL", async () => {
  using reference = makePolicy({}, 50);
  using policy = makePolicy();
  const estimates = await sampleEstimates(policy, 9, [0, 0]);
  const weights = [];
  for (const imitationKlTarget of [1e-4, 100, 0]) {
    const options = { ...OPTIONS, klWeight: 0.1, imitationKlTarget };
    using trainer = new PpoTrainer(policy, options, reference);
    await trainer.update(estimates, seededRandom(1));
    weights.push(trainer.klWeight);
  }
  assert.ok(weights[0] > 0.1 && weights[1] < 0.1 && weights[2] === 0.1, weights.join());
});

Deno.test("updates with everything on leave no tensor behind", async () => {
  const alive = tf.memory().numTensors;
  {
    using reference = makePolicy({}, 2);
    using policy = makePolicy({ valueInput: "attention" });
    const estimates = await sampleEstimates(policy, 12, [1, NaN, 0.5]);
    using trainer = new PpoTrainer(policy, {
      ...OPTIONS,
      ...{ klWeight: 0.1, batchSize: 2, microBatchSize: 1, decoupled: true, ratioLevel: "token" },
      ...{ valueNormalization: true, valueLoss: "huber", dualClip: 3, imitationWeight: 0.1 },
      ...{ imitationKlTarget: 0.01, clipRangeHigh: 0.3, weightDecay: 0.01, trainVision: false },
    }, reference);
    const mixed = [...byPerson(estimates.slice(2)), ...estimates.slice(0, 2)];
    let afterTwo = 0;
    for (let i = 1; i <= 8; i++) {
      await trainer.update(mixed, seededRandom(i), { policyVersion: 0, isCriticAlone: i === 5 });
      if (i === 2) afterTwo = tf.memory().numTensors;
    }
    assert.equal(tf.memory().numTensors, afterTwo);
  }
  assert.equal(tf.memory().numTensors, alive);
});

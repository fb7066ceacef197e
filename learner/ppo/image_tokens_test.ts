import assert from "node:assert/strict";
import { PRESETS } from "../../common/config/presets.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { makePolicy } from "../../common/policy/testing.ts";
import { type PolicyVariant, VARIANTS } from "../../common/policy/variants.ts";
import { seededRandom } from "../../common/random.ts";
import type { ChunkTransition } from "../../common/types.ts";
import { sampleEstimates } from "../testing.ts";
import type { Estimate } from "./gae.ts";
import { isEncoderFrozen, wantsImageTokens, withImageTokens } from "./image_tokens.ts";
import { PpoTrainer } from "./update.ts";
import { troublesOf } from "./update_metrics.ts";

await useDevice("wasm");

const ADVANTAGES = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? 1 : -1));

/** One update with the image encoder frozen: its metrics, and all weights after it. */
async function update(estimates: readonly Estimate[]) {
  using policy = makePolicy();
  using trainer = new PpoTrainer(policy, { ...PRESETS.demo, batchSize: 8 });
  const metrics = await trainer.update(estimates, seededRandom(5), { policyVersion: 0 });
  const weights = [
    ...await policy.network.backbone.toHost(),
    ...await policy.network.valueHead.toHost(),
  ];
  return { metrics, weights };
}

/** The same chunks, each changed. */
const changed = (
  estimates: readonly Estimate[],
  change: (transition: ChunkTransition, i: number) => Partial<ChunkTransition>,
) =>
  estimates.map((estimate, i) => ({
    ...estimate,
    transition: { ...estimate.transition, ...change(estimate.transition, i) },
  }));

const without = (estimates: readonly Estimate[]) =>
  changed(estimates, () => ({ imageTokens: undefined }));

async function sampleWithTokens(seed: number, policySeed?: number) {
  using policy = makePolicy({}, policySeed);
  return await sampleEstimates(policy, seed, ADVANTAGES, true);
}

Deno.test("an update on image tokens that came is, to the bit, the one that computes them", async () => {
  const estimates = await sampleWithTokens(1);
  const came = await update(estimates);
  assert.deepEqual([came.metrics.imageTokensTaken, came.metrics.imageTokenGap], [20, 0]);
  assert.deepEqual(troublesOf(came.metrics), []);
  const own = await update(without(estimates));
  assert.deepEqual([own.metrics.imageTokensTaken, own.metrics.imageTokenGap], [0, null]);
  assert.deepEqual(came.weights, own.weights);
});

Deno.test("image tokens of some chunks alone are taken, the others' computed", async () => {
  const estimates = await sampleWithTokens(2);
  const some = changed(
    estimates,
    ({ imageTokens }, i) => ({ imageTokens: i % 3 === 0 ? imageTokens : undefined }),
  );
  const mixed = await update(some);
  assert.equal(mixed.metrics.imageTokensTaken, 7);
  assert.deepEqual(mixed.weights, (await update(without(estimates))).weights);
});

Deno.test("image tokens of another encoder are not taken, and said to be another's", async () => {
  const estimates = await sampleWithTokens(3);
  const others = await sampleWithTokens(3, 77);
  const swapped = changed(
    estimates,
    (_, i) => ({ imageTokens: others[i].transition.imageTokens }),
  );
  const { metrics, weights } = await update(swapped);
  assert.equal(metrics.imageTokensTaken, 0);
  assert.ok(metrics.imageTokenGap! > 0.1, `gap ${metrics.imageTokenGap}`);
  assert.match(troublesOf(metrics).join(), /^Image tokens that came with chunks are not this pol/);
  assert.deepEqual(weights, (await update(without(estimates))).weights);
});

Deno.test("image tokens of another length or precision are computed anew, the pictures' chunks kept", async () => {
  const estimates = await sampleWithTokens(4);
  const short = changed(estimates, ({ imageTokens }) => ({ imageTokens: imageTokens!.slice(1) }));
  const coarse = changed(
    estimates,
    ({ imageTokens }) => ({
      imageTokens: imageTokens!.map((x) => 2 * x),
      behaviour: { precision: "int8", decoder: "wasm" },
    }),
  );
  const own = await update(without(estimates));
  for (const odd of [short, coarse]) {
    const { metrics, weights } = await update(odd);
    assert.deepEqual([metrics.imageTokensTaken, metrics.imageTokenGap], [0, null]);
    assert.equal(metrics.malformedChunks, 0);
    assert.deepEqual(weights, own.weights);
  }
});

Deno.test("a few chunks' image tokens are compared, and one that is wrong among them shows", async () => {
  using policy = makePolicy();
  const transitions = (await sampleEstimates(policy, 6, ADVANTAGES, true)).map((e) => e.transition);
  const chunks = policy.prepareChunks(
    transitions.map((t) => t.observation),
    transitions.map((t) => t.tokens),
  );
  const first = { ...transitions[0], imageTokens: transitions[1].imageTokens };
  const { taken, gap, chunks: encoded } = await withImageTokens(
    policy,
    chunks,
    [first, ...transitions.slice(1)],
    8,
  );
  assert.ok(taken === 0 && gap! > 0.1, `taken ${taken}, gap ${gap}`);
  assert.deepEqual(encoded.input.imageTokens, transitions.map((t) => t.imageTokens));
});

Deno.test("image tokens are wanted by a frozen float32 encoder that makes less of pictures than they take", () => {
  const learner = (variant: PolicyVariant, precision: "float32" | "int8" = "float32") =>
    ({ network: { variant, backbone: { precision } } }) as unknown as ActorCritic;
  const frozen = { trainVision: false } as const;
  assert.ok(wantsImageTokens(learner(VARIANTS.tiny), frozen));
  assert.ok(
    wantsImageTokens(learner(VARIANTS.tiny), { trainVision: true, trainScope: "value_head" }),
  );
  assert.ok(!wantsImageTokens(learner(VARIANTS.tiny), { trainVision: true }));
  assert.ok(!wantsImageTokens(learner(VARIANTS.tiny, "int8"), frozen));
  assert.ok(!wantsImageTokens(learner(VARIANTS.gemma_2b), frozen));
  assert.ok(isEncoderFrozen(frozen) && !isEncoderFrozen({ trainVision: true, trainScope: "full" }));
});

import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { makePolicy } from "../../common/policy/testing.ts";
import type { Behaviour, ChunkTransition } from "../../common/types.ts";
import { sampleEstimates } from "../testing.ts";
import {
  MAX_COMPARED_CHUNKS,
  measureBehaviourGaps,
  poolGaps,
  type TokenGap,
} from "./behaviour_gap.ts";

await useDevice("wasm");

const WASM: Behaviour = { precision: "float32", decoder: "wasm" };
const OPTIONS = { policyVersion: 0, temperature: 1, batchSize: 4 };

/** What a policy samples, each chunk changed. */
async function sample(
  policy: ActorCritic,
  count: number,
  change: (chunk: ChunkTransition, i: number) => Partial<ChunkTransition> = () => ({}),
): Promise<ChunkTransition[]> {
  const estimates = await sampleEstimates(policy, 3, new Array(count).fill(0));
  return estimates.map(({ transition }, i) => ({ ...transition, ...change(transition, i) }));
}

function measure(
  policy: ActorCritic,
  chunks: readonly ChunkTransition[],
  changes: Partial<typeof OPTIONS> = {},
) {
  const prepared = policy.prepareChunks(
    chunks.map((chunk) => chunk.observation),
    chunks.map((chunk) => chunk.tokens),
  );
  return measureBehaviourGaps(policy, prepared, chunks, { ...OPTIONS, ...changes });
}

/** The same chunk as a policy would have recorded it whose tokens are likelier by so many nats. */
const shifted = ({ tokenLogProbs }: ChunkTransition, nats: number) => ({
  tokenLogProbs: tokenLogProbs.map((logProb) => logProb + nats),
});

for (const valueInput of ["observation", "chunk"] as const) {
  Deno.test(`measureBehaviourGaps() finds rounding alone between equals (${valueInput})`, async () => {
    using policy = makePolicy({ valueInput });
    const chunks = await sample(policy, 6);
    const [gap, ...others] = await measure(policy, chunks);
    assert.deepEqual(others, []);
    const tokens = chunks.reduce((sum, chunk) => sum + chunk.tokens.length, 0);
    assert.deepEqual([gap.precision, gap.decoder], ["float32", "wasm"]);
    assert.deepEqual([gap.chunks, gap.tokens], [6, tokens]);
    assert.ok(gap.mean <= gap.max && gap.max < 2e-5, `largest gap ${gap.max}`);
    assert.ok(gap.kl >= 0 && gap.kl < 1e-9, `KL ${gap.kl}`);
  });
}

Deno.test("measureBehaviourGaps() measures a known gap", async () => {
  using policy = makePolicy();
  const chunks = await sample(policy, 5, (chunk, i) => shifted(chunk, i === 0 ? 0.5 : -0.25));
  const [gap] = await measure(policy, chunks);
  const first = chunks[0].tokens.length / gap.tokens;
  const k3 = (logRatio: number) => Math.exp(logRatio) - 1 - logRatio;
  assert.ok(Math.abs(gap.max - 0.5) < 1e-4);
  assert.ok(Math.abs(gap.mean - (first * 0.5 + (1 - first) * 0.25)) < 1e-4);
  assert.ok(Math.abs(gap.kl - (first * k3(-0.5) + (1 - first) * k3(0.25))) < 1e-4);
});

Deno.test("measureBehaviourGaps() compares at the temperature of sampling", async () => {
  using policy = makePolicy();
  const chunks = await sample(policy, 3);
  const [gap] = await measure(policy, chunks, { temperature: 2 });
  assert.ok(gap.mean > 1e-3, `${gap.mean}`);
});

Deno.test("measureBehaviourGaps() leaves chunks of other versions out", async () => {
  using policy = makePolicy();
  const chunks = await sample(
    policy,
    4,
    (chunk, i) => i === 2 ? {} : { policyVersion: 7 + i, ...shifted(chunk, -3) },
  );
  const [gap] = await measure(policy, chunks);
  assert.deepEqual([gap.chunks, gap.tokens], [1, chunks[2].tokens.length]);
  assert.ok(gap.max < 2e-5);
  assert.deepEqual(await measure(policy, chunks, { policyVersion: 1 }), []);
});

Deno.test("measureBehaviourGaps() tells precisions and decoders apart and bounds its work", async () => {
  using policy = makePolicy();
  const int8 = { precision: "int8", decoder: "wasm" } as const;
  const engine = { precision: "int8", decoder: "engine" } as const;
  const chunks = await sample(
    policy,
    48,
    (chunk, i) =>
      i < 42
        ? { behaviour: WASM }
        : { behaviour: i < 46 ? int8 : engine, ...shifted(chunk, i < 46 ? -0.01 : -0.1) },
  );
  const gaps = await measure(policy, chunks, { batchSize: 16 });
  const kinds = gaps.map(({ precision, decoder }) => ({ precision, decoder }));
  assert.deepEqual(kinds, [WASM, int8, engine]);
  const share = Math.floor(MAX_COMPARED_CHUNKS / 3);
  assert.deepEqual(gaps.map((gap) => gap.chunks), [share, 4, 2]);
  assert.ok(gaps[0].max < 2e-5);
  assert.ok(Math.abs(gaps[1].mean - 0.01) < 1e-4 && Math.abs(gaps[2].mean - 0.1) < 1e-4);
});

Deno.test("measureBehaviourGaps() leaves no tensor behind", async () => {
  using policy = makePolicy();
  const chunks = await sample(policy, 5);
  const before = tf.memory().numTensors;
  for (let i = 0; i < 3; i++) await measure(policy, chunks, { batchSize: 2 });
  assert.equal(tf.memory().numTensors, before);
});

Deno.test("poolGaps() weighs by tokens", () => {
  const gap = (tokens: number, mean: number): TokenGap => ({
    tokens,
    mean,
    max: 2 * mean,
    kl: mean,
  });
  assert.equal(poolGaps([]), null);
  assert.deepEqual(poolGaps([gap(30, 0.1), gap(10, 0.5)]), {
    tokens: 40,
    mean: 0.2,
    max: 1,
    kl: 0.2,
  });
});

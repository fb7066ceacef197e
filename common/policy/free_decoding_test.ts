import assert from "node:assert/strict";
import { randomSource } from "../tokenizer/testing.ts";
import { useDevice } from "./backend.ts";
import { policySignature } from "./load.ts";
import { ACTION_DIM, HORIZON, makeObservations, makePolicy, maxDifference } from "./testing.ts";

Deno.test("without constrained decoding any token is drawn, and its log-probability is recomputed", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ constrainedDecoding: false, maxTokenLen: 48 });
  const observations = makeObservations(1, 6);
  const options = { temperature: 1, random: randomSource(3) };
  const chunks = await policy.sampleActions(observations, options);
  const isStill = (actions: Float32Array) => actions.every((action) => action === 0);
  assert.ok(chunks.some(({ actions }) => isStill(actions)), "some chunk does not decode");
  for (const [i, { tokens, actions }] of chunks.entries()) {
    assert.equal(actions.length, HORIZON * ACTION_DIM);
    assert.equal(policy.findFault(observations[i], tokens), null);
  }
  const logProbs = await policy.computeActionChunkLogProb(
    observations,
    chunks.map(({ tokens }) => tokens),
    1,
  );
  assert.ok(maxDifference(logProbs, chunks.map(({ logProb }) => logProb)) < 1e-4);
});

Deno.test("peers of which one constrains its decoding do not go together", () => {
  using free = makePolicy({ constrainedDecoding: false });
  using bound = makePolicy();
  assert.notEqual(policySignature(free, 1).chunk, policySignature(bound, 1).chunk);
});

import assert from "node:assert/strict";
import type { ChunkTransition, Observation } from "../common/types.ts";
import type { Segment } from "./chunk_buffer.ts";
import { type EstimateOptions, estimateSegments } from "./estimate.ts";
import { makeTransition } from "./testing.ts";

const OPTIONS: EstimateOptions = {
  gamma: 0.5,
  gaeLambda: 0,
  discounting: "step",
  environmentRewardWeight: 1,
  humanRewardWeight: 1,
  intrinsicRewardWeight: 0,
};

/** A chunk of two steps, one reward of which a person gave. */
function chunk(chunkIndex: number, changes: Partial<ChunkTransition> = {}): ChunkTransition {
  return makeTransition({
    chunkIndex,
    stepsExecuted: 2,
    reward: 3,
    stepRewards: Float32Array.of(1, 2),
    humanRewards: Float32Array.of(0, 1.5),
    value: 8,
    ...changes,
  });
}

const segment: Segment = { chunks: [chunk(0), chunk(1, { isTerminal: true })] };

Deno.test("estimateSegments() discounts inside a chunk, and takes whole rewards by default", async () => {
  const { estimates, rewards } = await estimateSegments([segment], OPTIONS);
  // R = 1 + 0.5 · 2, and a quarter of the next value.
  assert.deepEqual(estimates.map((e) => e.valueTarget), [2 + 0.25 * 8, 2]);
  assert.deepEqual(rewards, { environment: 1.5, human: 1.5, intrinsic: 0 });
  assert.equal(estimates[0].transition, segment.chunks[0]);
  const plain = await estimateSegments([segment], { ...OPTIONS, discounting: "chunk" });
  assert.deepEqual(plain.estimates.map((e) => e.valueTarget), [3 + 0.5 * 8, 3]);
});

Deno.test("estimateSegments() mixes rewards by weights", async () => {
  const weights = { environmentRewardWeight: 2, humanRewardWeight: 4 };
  const { estimates, rewards } = await estimateSegments([segment], { ...OPTIONS, ...weights });
  const { stepRewards, reward } = estimates[1].transition;
  assert.deepEqual([...stepRewards], [2, 2 * 0.5 + 4 * 1.5]);
  assert.equal(reward, 9);
  assert.equal(estimates[1].valueTarget, 2 + 0.5 * 7);
  assert.deepEqual(rewards, { environment: 1.5, human: 1.5, intrinsic: 0 });
});

Deno.test("estimateSegments() rewards every chunk for what it began with, an episode's last one too", async () => {
  const observed = (prompt: string): Observation => ({ ...segment.chunks[0].observation, prompt });
  const chunks = ["a", "b", "c"].map((prompt, i) => chunk(i, { observation: observed(prompt) }));
  const asked: string[] = [];
  const rate = (observations: readonly Observation[]) => {
    asked.push(...observations.map(({ prompt }) => prompt));
    return Promise.resolve(Float32Array.from(observations, (_, i) => 10 * (i + 1)));
  };
  const { estimates, rewards } = await estimateSegments(
    [
      { chunks, nextValue: 0 },
      { chunks: [chunk(0, { isTerminal: true, observation: observed("d") })] },
    ],
    { ...OPTIONS, intrinsicRewardWeight: 0.1 },
    rate,
  );
  assert.deepEqual(asked, ["a", "b", "c", "d"]);
  const steps = estimates.map(({ transition }) => [...transition.stepRewards]);
  assert.deepEqual(steps, [[2, 2], [3, 2], [4, 2], [5, 2]]);
  assert.equal(rewards.intrinsic, 25);
});

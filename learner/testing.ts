/**
 * What the learner's tests share: transitions without pictures, and chunks that a real policy
 * sampled.
 *
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { makeObservations } from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import { CAMERA_NAMES, type ChunkTransition, type Observation } from "../common/types.ts";
import type { Estimate } from "./ppo/gae.ts";

/** An observation that no policy will see: pictures of no pixel. */
const BLANK: Observation = {
  images: Object.fromEntries(
    CAMERA_NAMES.map((camera) => [camera, { width: 0, height: 0, data: new Uint8Array(0) }]),
  ) as unknown as Observation["images"],
  state: new Float32Array(14),
  prompt: "reach the red ball",
};

/** A transition of which only the given fields matter. */
export function makeTransition(changes: Partial<ChunkTransition> = {}): ChunkTransition {
  const { episodeId = "episode", chunkIndex = 0, reward = 0, stepsExecuted = 4 } = changes;
  // Earned in the last step.
  const stepRewards = new Float32Array(stepsExecuted);
  stepRewards[stepsExecuted - 1] = reward;
  return {
    chunkId: `${episodeId}.${chunkIndex}`,
    episodeId,
    chunkIndex,
    driver: "policy",
    policyVersion: 0,
    observation: BLANK,
    tokens: Int32Array.of(0),
    logProb: -1,
    tokenLogProbs: Float32Array.of(-1),
    behaviour: { precision: "float32", decoder: "wasm" },
    value: 0,
    reward,
    stepRewards,
    humanRewards: new Float32Array(0),
    stepsExecuted,
    isTerminal: false,
    isTruncated: false,
    isCutShort: false,
    isSuccess: false,
    finalValue: 0,
    ...changes,
  };
}

/**
 * Chunks that a policy samples for made-up observations.
 * @param seed Of observations and draws.
 * @param advantages One a chunk; value targets are the critic's values plus these.
 * @param keepImageTokens Chunks bring their image tokens.
 */
export async function sampleEstimates(
  policy: ActorCritic,
  seed: number,
  advantages: readonly number[],
  keepImageTokens = false,
): Promise<Estimate[]> {
  const observations = makeObservations(seed, advantages.length);
  const chunks = await policy.sampleActions(observations, {
    temperature: 1,
    random: seededRandom(seed),
    keepImageTokens,
  });
  return chunks.map(({ actions: _actions, entropy: _entropy, ...sampled }, i) => ({
    transition: makeTransition({
      episodeId: `episode-${i}`,
      observation: observations[i],
      ...sampled,
    }),
    advantage: advantages[i],
    valueTarget: sampled.value + advantages[i],
  }));
}

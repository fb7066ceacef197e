/**
 * The shipped policy acts in simulation, in float32 and in few bits; its chunks cross the wire, and the
 * learner in float32 measures how far the policies are apart.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Config, Precision } from "../common/config/config.ts";
import { PRESETS } from "../common/config/presets.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { useDevice } from "../common/policy/backend.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../common/policy/load.ts";
import { normal, seededRandom } from "../common/random.ts";
import type { ChunkTransition } from "../common/types.ts";
import { decodeFrame, encodeFrame } from "../common/wire/frames.ts";
import { Rollout } from "../controller/rollout.ts";
import { createRobots } from "../controller/sim/create_robots.ts";
import { PpoTrainer } from "../learner/ppo/update.ts";

await useDevice("wasm");

const CONFIG: Config = { ...PRESETS.demo, numEnvs: 6, batchSize: 16, seed: 4 };
const VERSION = 3;
const ROUNDS = 2;

async function load(precision: Precision): Promise<ActorCritic> {
  const random = seededRandom(CONFIG.seed);
  const critic = { ...CONFIG, precision, normal: () => normal(random) };
  return (await loadPolicy(SHIPPED_CHECKPOINTS[0], critic)).policy;
}

/** Chunks that a policy executes, as they leave the wire. */
async function collect(policy: ActorCritic): Promise<ChunkTransition[]> {
  using robots = await createRobots(CONFIG, policy.shape.variant.siglip.imageSize);
  let started = 0;
  const rollout = new Rollout({
    robots: robots.all,
    temperature: CONFIG.temperature,
    random: seededRandom(CONFIG.seed),
    nextEpisode: () => ({ seed: started, episodeId: `episode-${started++}` }),
  });
  const transitions = [];
  for (let i = 0; i < ROUNDS; i++) transitions.push(...await rollout.advance(policy, VERSION));
  const message = decodeFrame(encodeFrame({ type: "transitions", transitions }));
  assert.ok(message.type === "transitions" && message.refused === undefined);
  return [...message.transitions];
}

/** What an update of the float32 policy says about chunks of a policy in some precision. */
async function gapOf(precision: Precision) {
  using actor = await load(precision);
  const chunks = await collect(actor);
  using learner = await load("float32");
  using trainer = new PpoTrainer(learner, { ...CONFIG, learningRate: 0 });
  // What the chunks earned does not matter here.
  const estimates = chunks.map((transition) => ({ transition, advantage: 0, valueTarget: 0 }));
  const metrics = await trainer.update(estimates, seededRandom(1), { policyVersion: VERSION });
  const [gap, ...others] = metrics.behaviourGaps;
  assert.deepEqual(others, []);
  assert.deepEqual([gap.precision, gap.decoder], [precision, "wasm"]);
  assert.deepEqual(
    [metrics.behaviourGapMean, metrics.behaviourGapMax, metrics.behaviourKl],
    [gap.mean, gap.max, gap.kl],
  );
  assert.equal(gap.chunks, ROUNDS * CONFIG.numEnvs);
  assert.equal(gap.tokens, chunks.reduce((sum, chunk) => sum + chunk.tokens.length, 0));
  return gap;
}

Deno.test("the learner measures the gap to policies in float32, int8 and int4", async () => {
  const float32 = await gapOf("float32");
  const int8 = await gapOf("int8");
  const int4 = await gapOf("int4");
  const text = JSON.stringify([float32, int8, int4]);
  assert.ok(float32.mean < 1e-5 && float32.max < 1e-4 && float32.kl < 1e-8, text);
  assert.ok(int8.mean > 1e-4 && int8.mean < 0.03 && int8.max < 0.5 && int8.kl < 2e-3, text);
  assert.ok(int4.mean > int8.mean && int4.kl > int8.kl, text);
});

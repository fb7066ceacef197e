/**
 * A person, played by a script, takes a simulated robot over from the policy and gives it back; their
 * chunks cross a real WebSocket into the learner's buffer and its advantages.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PRESETS } from "../common/config/presets.ts";
import { useDevice } from "../common/policy/backend.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../common/policy/load.ts";
import { normal, seededRandom } from "../common/random.ts";
import { ACTION_RANGES } from "../common/robot/aloha.ts";
import { EpisodeLabels } from "../controller/episode_labels.ts";
import { LearnerLink } from "../controller/learner_link.ts";
import { Rollout } from "../controller/rollout.ts";
import { SimulatedAloha } from "../controller/sim/aloha_sim.ts";
import { createDemonstrator } from "../controller/sim/demonstrator.ts";
import { Takeover } from "../controller/takeover.ts";
import { ChunkBuffer } from "../learner/chunk_buffer.ts";
import { EpisodeLog } from "../learner/episode_log.ts";
import { computeGae } from "../learner/ppo/gae.ts";
import { startLearner, TEST_SIGNATURE } from "../learner/server/testing.ts";

await useDevice("wasm");

const CONFIG = { ...PRESETS.demo, numEnvs: 1 };

Deno.test("a person's chunks travel from a simulated robot to the learner's advantages", async () => {
  const random = seededRandom(1);
  const { policy } = await loadPolicy(SHIPPED_CHECKPOINTS[0], {
    ...CONFIG,
    normal: () => normal(random),
  });
  using _policy = policy;
  const { imageSize } = policy.shape.variant.siglip;
  using robot = await SimulatedAloha.create({ task: "reach", imageSize, maxEpisodeSteps: 100 });
  const labels = new EpisodeLabels();
  const takeover = new Takeover({ robots: 1, horizon: policy.shape.horizon });
  let episodes = 0;
  const rollout = new Rollout({
    robots: [robot],
    temperature: 1,
    random: seededRandom(2),
    nextEpisode: () => ({ seed: 11, episodeId: `episode-${episodes++}` }),
    execution: { executeSteps: 4, executeStepsFinal: 2, executeUncertainty: 0, executeMinSteps: 1 },
    labels,
    takeover,
  });

  await using learner = startLearner();
  const link = new LearnerLink({
    url: learner.url,
    controllerId: "bench",
    signature: TEST_SIGNATURE,
    random: seededRandom(3),
    logger: learner.logger,
  });
  link.connect();
  assert.ok(await link.until(() => link.state === "connected", 20_000));
  const send = async (progress: number) => {
    for (const chunk of await rollout.advance(policy, 1, progress)) link.send(chunk);
  };
  await send(0);
  await send(1);
  const demonstrator = createDemonstrator(robot);
  demonstrator.reset();
  assert.equal(
    takeover.begin(
      0,
      () =>
        demonstrator.act().map((x, i) =>
          Math.min(ACTION_RANGES[i].max, Math.max(ACTION_RANGES[i].min, x))
        ),
    ),
    null,
  );
  await send(1);
  labels.add({ episode: "current", kind: "score", value: 0.25 });
  while (episodes === 1 && labels.running.length === 1) await send(1);
  assert.ok(await link.until(() => link.counts().queued === 0, 20_000));
  await link.close();

  const chunks = learner.accepted;
  assert.deepEqual(learner.counts.refused, {});
  assert.deepEqual(chunks.map((t) => t.chunkIndex), chunks.map((_, i) => i));
  assert.deepEqual(chunks.slice(0, 3).map((t) => [t.driver, t.stepsExecuted]), [
    ["policy", 4],
    ["policy", 2],
    ["person", 10],
  ]);
  assert.ok(chunks.slice(2).every(({ driver }) => driver === "person"));
  for (const { observation, tokens } of chunks) {
    assert.equal(policy.findFault(observation, tokens), null);
  }
  assert.ok(chunks.at(-1)!.isSuccess, "the script reaches the ball");
  assert.equal(chunks[3].humanRewards[0], 0.25);

  const log = new EpisodeLog();
  const [finished] = chunks.map((chunk) => log.add(chunk)).filter((one) => one !== undefined);
  assert.deepEqual([finished.end, finished.humanReward], ["success", 0.25]);
  assert.equal(finished.steps - finished.humanSteps, 6);

  const buffer = new ChunkBuffer();
  for (const chunk of chunks) buffer.add(chunk);
  const [segment] = await buffer.take(chunks.length, 0, new AbortController().signal);
  const options = { gamma: 0.99, lambda: 0.9, discounting: "step" } as const;
  const estimates = computeGae(segment.chunks, options);
  assert.ok(estimates.slice(2).every(({ advantage }) => advantage === 0));
  // The policy's chain ends at the takeover: its last chunk bootstraps from what the person saw first.
  const { stepRewards: [r0, r1], value } = chunks[1];
  const expected = r0 + 0.99 * r1 + 0.99 ** 2 * chunks[2].value - value;
  assert.ok(Math.abs(estimates[1].advantage - expected) < 1e-9);
});

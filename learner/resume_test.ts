/**
 * A run that stops and goes on against one that does not stop, in the training thread as it is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { checkpointPath, readTrainStateFiles } from "../common/checkpoint/checkpoint.ts";
import type { Config, Device } from "../common/config/config.ts";
import { PRESETS } from "../common/config/presets.ts";
import { useDevice } from "../common/policy/backend.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../common/policy/load.ts";
import { makeObservations } from "../common/policy/testing.ts";
import { normal, seededRandom } from "../common/random.ts";
import type { ChunkTransition, HostTensor } from "../common/types.ts";
import { CheckpointWriter } from "./checkpoint_writer.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { EpisodeLog } from "./episode_log.ts";
import { PolicyVersions } from "./policy_versions.ts";
import { decodeTrainState, type TrainState } from "./train_state.ts";
import { type Progress, runTrainLoop, type UpdateRecord } from "./train_loop.ts";
import { Trainer } from "./trainer.ts";
import type { TrainerOptimizer } from "./trainer_messages.ts";
import { makeTransition } from "./testing.ts";

const NEVER = new AbortController().signal;
const UPDATES = 4;

/** Everything on that has a state. */
const SETTINGS: Config = {
  ...PRESETS.debug,
  updates: UPDATES,
  chunksPerUpdate: 4,
  batchSize: 3,
  epochs: 2,
  microBatchSize: 2,
  maxStaleness: UPDATES,
  trainVision: false,
  learningRate: 1e-3,
  warmUpUpdates: 2,
  learningRateSchedule: "cosine",
  finalLearningRateFraction: 0.1,
  weightDecay: 0.01,
  criticWarmUpUpdates: 1,
  valueNormalization: true,
  klWeight: 0.1,
  imitationKlTarget: 1e-3,
  imitationWeight: 0.1,
  intrinsicRewardWeight: 0.5,
  decoupled: true,
};

/** The plain cpu backend takes a second a chunk: less of everything, once. */
const LESS = { chunksPerUpdate: 1, batchSize: 1, microBatchSize: 0, epochs: 1, imitationWeight: 0 };

/** Chunks for all updates, of episodes of three, one of which a person drives for a while. */
async function sampleChunks(): Promise<ChunkTransition[]> {
  await useDevice("wasm");
  const random = seededRandom(3);
  const [, checkpoint] = SHIPPED_CHECKPOINTS;
  const options = { ...SETTINGS, normal: () => normal(random) };
  using policy = (await loadPolicy(checkpoint, options)).policy;
  const count = SETTINGS.chunksPerUpdate * UPDATES + 2;
  const observations = makeObservations(5, count, policy.shape.variant.siglip.imageSize);
  const sampled = await policy.sampleActions(observations, { temperature: 1, random });
  return sampled.map(({ actions: _actions, entropy: _entropy, ...chunk }, i) => {
    const [episode, chunkIndex] = [Math.floor(i / 3), i % 3];
    const isPerson = i === 4;
    return makeTransition({
      episodeId: `episode-${episode}`,
      chunkIndex,
      observation: observations[i],
      reward: 10 * random() - 2,
      stepsExecuted: 1 + i % 10,
      ...(chunkIndex === 2 &&
        [{ isTerminal: true }, { isTruncated: true, finalValue: 1.5 }][i % 2]),
      ...chunk,
      ...(isPerson && { driver: "person", logProb: 0, tokenLogProbs: new Float32Array(0) }),
    });
  });
}

/** Where a run stands. */
interface Outcome {
  readonly weights: readonly HostTensor[];
  readonly optimizer: TrainerOptimizer;
  readonly records: readonly UpdateRecord[];
}

/** Train on what a buffer holds; a checkpoint is written after each update that is named. */
async function run(
  config: Config,
  start: { readonly checkpoint: string; readonly progress: Progress; readonly state?: TrainState },
  chunks: readonly ChunkTransition[],
  writeAfter: readonly number[],
): Promise<Outcome> {
  using trainer = new Trainer();
  const [, reference] = SHIPPED_CHECKPOINTS;
  const { checkpoint, state } = start;
  const ready = await trainer.start({ checkpoint, reference, config, state: state?.trainer });
  const buffer = new ChunkBuffer();
  for (const chunk of chunks) buffer.add(chunk);
  const episodes = new EpisodeLog(0, state?.openEpisodes);
  const progress = { ...start.progress };
  const writer = new CheckpointWriter({
    config,
    command: "the tests",
    model: ready.model,
    startedFrom: checkpoint,
    initialization: ready.initialization,
    notes: [],
    trainer,
    anchor: reference,
    versionJumps: [],
    metrics: {},
    collection: () => ({
      chunks: buffer.chunks(),
      acceptedIds: chunks.map((chunk) => chunk.chunkId),
      openEpisodes: [["open", { reward: 0.1, humanReward: 0, steps: 3, humanSteps: 0 }]],
      episodesTotal: 7,
      finishedEpisodes: episodes.finished,
    }),
  });
  const records: UpdateRecord[] = [];
  let weights: readonly HostTensor[] = [];
  await runTrainLoop({
    config,
    buffer,
    episodes,
    trainer,
    progress,
    signal: NEVER,
    versions: new PolicyVersions(),
    publish: () => Promise.resolve(),
    refuse: () => {},
    onUpdate: async (record, newWeights) => {
      records.push(record);
      weights = newWeights;
      if (writeAfter.includes(record.update)) await writer.write(progress, record, weights);
    },
  });
  return { weights, optimizer: await trainer.optimizer(), records };
}

/** Numbers of a record that are the same in every run. */
function numbersOf(record: UpdateRecord) {
  const timed = /Ms$|Seconds$|PerSecond$|^tensors$/;
  return Object.fromEntries(Object.entries(record).filter(([name]) => !timed.test(name)));
}

const chunks = await sampleChunks();

const CASES: readonly (readonly [Device, Partial<Config>])[] = [["wasm", {}], [
  "cpu",
  { ...LESS, normalizeAdvantages: false },
]];

for (const [device, changes] of CASES) {
  Deno.test(`a run that is resumed equals the run that is not, bit for bit on ${device}`, async () => {
    const checkpointDir = await Deno.makeTempDir();
    try {
      const config = { ...SETTINGS, ...changes, device, checkpointDir };
      const trained = 2 * config.chunksPerUpdate;
      const [, checkpoint] = SHIPPED_CHECKPOINTS;
      const zero = { updates: 0, policyVersion: 0, chunksTrained: 0, controlSteps: 0, episodes: 0 };
      const whole = await run(config, { checkpoint, progress: zero }, chunks, [2]);
      assert.equal(whole.records.length, UPDATES);

      const half = checkpointPath(checkpointDir, config.expName, 2);
      const state = decodeTrainState(await readTrainStateFiles(half), half)!;
      assert.equal(state.chunks.length, chunks.length - trained);
      assert.deepEqual([state.acceptedIds.length, state.episodesTotal], [chunks.length, 7]);
      const { controlSteps } = JSON.parse(Deno.readTextFileSync(`${half}/metadata.json`)).training;
      const progress = {
        ...zero,
        updates: 2,
        policyVersion: 2,
        chunksTrained: trained,
        controlSteps,
      };
      const resumed = await run(
        { ...config, resume: true },
        { checkpoint: half, progress, state },
        state.chunks,
        [],
      );
      assert.deepEqual(resumed.weights, whole.weights);
      assert.deepEqual(resumed.optimizer, whole.optimizer);
      assert.deepEqual(resumed.records.map(numbersOf), whole.records.slice(2).map(numbersOf));

      const { criticAlone, rewardIntrinsic, klWeight } = whole.records[0];
      assert.deepEqual([criticAlone, klWeight], [1, 0.1]);
      assert.ok(rewardIntrinsic > 0);
      if (device === "wasm") assert.equal(whole.records[1].personChunks, 1);
      assert.notEqual(whole.records[3].klWeight, 0.1);
      assert.ok(whole.optimizer.state.newness && whole.optimizer.state.values);
    } finally {
      await Deno.remove(checkpointDir, { recursive: true });
    }
  });
}

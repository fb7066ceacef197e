/**
 * Whether training leaves tensors behind.
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { seededRandom } from "../../common/random.ts";
import { PpoTrainer } from "../../learner/ppo/update.ts";
import { type BenchContext, collectEpisodes, loadBenchPolicy } from "./context.ts";
import { estimateEpisodes } from "./learner.ts";
import type { Measurement } from "./measurement.ts";

/** Tiny updates are enough: every update runs the same code. */
const CHUNKS = 4;
const EARLY_UPDATE = 5;
const LATE_UPDATE = 50;

/** Count tensors after a few updates and after many, each with acting before it. */
export async function benchLeak(context: BenchContext): Promise<Measurement[]> {
  const { config, signal } = context;
  using policy = await loadBenchPolicy(context);
  const { episodes } = await collectEpisodes(
    { ...context, config: { ...config, numEnvs: 2 } },
    policy,
    CHUNKS,
  );
  const estimates = estimateEpisodes(episodes, config, CHUNKS);
  const options = { ...config, epochs: 1, batchSize: CHUNKS, targetKl: 0, klWeight: 0 };
  using trainer = new PpoTrainer(policy, options);
  const random = seededRandom(config.seed);
  const observation = estimates[0].transition.observation;
  let early = 0;
  for (let update = 1; update <= LATE_UPDATE; update++) {
    signal.throwIfAborted();
    await policy.sampleActions([observation], { temperature: config.temperature, random });
    await trainer.update(estimates, random);
    if (update === EARLY_UPDATE) early = tf.memory().numTensors;
  }
  const late = tf.memory().numTensors;
  return [
    { name: `tensors after ${EARLY_UPDATE} updates`, unit: "tensors", p50: early },
    {
      name: `tensors after ${LATE_UPDATE} updates`,
      unit: "tensors",
      p50: late,
      goal: { kind: "at most", value: early },
    },
  ];
}

/**
 * THE loop of the learner: collect chunks, estimate advantages, update, publish.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { ChunkTransition, HostTensor, Observation } from "../common/types.ts";
import type { RefusedTransition } from "../common/wire/messages.ts";
import type { ChunkBuffer, Segment } from "./chunk_buffer.ts";
import type { EpisodeLog, FinishedEpisode } from "./episode_log.ts";
import { estimateSegments } from "./estimate.ts";
import { stepSizeScale } from "./learning_rate.ts";
import type { PolicyVersions } from "./policy_versions.ts";
import type { Trainer } from "./trainer.ts";
import { policyLossWeight } from "./ppo/schedule.ts";
import type { UpdateMetrics } from "./ppo/update.ts";

/** How far a run has come, earlier runs of the experiment included. */
export interface Progress {
  /** Policy updates. */
  updates: number;
  /** Version of the newest weights; grows by one an update, and past versions that were lost. */
  policyVersion: number;
  /** Chunks trained on. */
  chunksTrained: number;
  /** Control steps of those chunks. */
  controlSteps: number;
  /** Finished episodes. */
  episodes: number;
}

/** One update's numbers: what goes to metrics, and to whoever watches. */
export interface UpdateRecord extends Omit<UpdateMetrics, "refusedChunks"> {
  /** Number of the update. */
  readonly update: number;
  /** Version of the weights that it made. */
  readonly policyVersion: number;
  /** Mean sum of rewards of the episodes finished since the last update; null if none has. */
  readonly episodeReward: number | null;
  /** Share of those that succeeded; null if none has finished. */
  readonly successRate: number | null;
  /** Episodes finished since the last update. */
  readonly episodesFinished: number;
  /** Mean reward of the update's chunks, mixed as they are trained on. */
  readonly chunkReward: number;
  /** Chunks of the update. */
  readonly chunks: number;
  /** Chunks trained a second since the last update. */
  readonly chunksPerSecond: number;
  /** Mean of the environment's rewards a chunk, before their weight. */
  readonly rewardEnvironment: number;
  /** The same of what people gave. */
  readonly rewardHuman: number;
  /** The same of the rewards for what is new; 0 where they have no weight. */
  readonly rewardIntrinsic: number;
  /** Mean age of the chunks' weights, in versions. */
  readonly weightAge: number;
  /** The greatest. */
  readonly weightAgeMax: number;
  /** Fraction of the configured step sizes that was used. */
  readonly learningRateScale: number;
  /** Seconds of waiting for chunks. */
  readonly collectSeconds: number;
  /** Seconds of the update itself. */
  readonly updateSeconds: number;
  /** Chunks left out so far because their weights were too old. */
  readonly staleChunks: number;
  /** Chunks left out so far because one after them never came. */
  readonly orphanedChunks: number;
  /** Tensors alive in the training thread. */
  readonly tensors: number;
}

/** A chunk that turned out not to be fit for training. */
export interface RefusedChunk {
  /** The chunk, as it came out of the buffer. */
  readonly chunk: ChunkTransition;
  /** What is wrong with it. */
  readonly refusal: RefusedTransition;
}

/** What the loop works with. */
export interface TrainLoopParts {
  /** The configuration. */
  readonly config: Config;
  /** Chunks come out of here. */
  readonly buffer: ChunkBuffer;
  /** Episodes come out of here. */
  readonly episodes: EpisodeLog;
  /** The training thread. */
  readonly trainer: Pick<Trainer, "update" | "rateNewness">;
  /** Updated in place. */
  readonly progress: Progress;
  /** Which versions were lost. */
  readonly versions: PolicyVersions;
  /** New weights for the controllers. */
  readonly publish: (version: number, weights: readonly HostTensor[]) => Promise<void>;
  /** Chunks that an update had to leave out: their senders are to be told. */
  readonly refuse: (refused: readonly RefusedChunk[]) => void;
  /** Called after each update, before the next one begins. */
  readonly onUpdate: (record: UpdateRecord, weights: readonly HostTensor[]) => Promise<void>;
  /** Ends the run by throwing its reason. */
  readonly signal: AbortSignal;
}

/** Train until the configured number of updates or control steps is reached. */
export async function runTrainLoop(parts: TrainLoopParts): Promise<void> {
  const {
    config,
    buffer,
    episodes,
    trainer,
    progress,
    versions,
    publish,
    refuse,
    onUpdate,
    signal,
  } = parts;
  let last = performance.now();
  while (!isFinished(config, progress)) {
    // Collect.
    const oldest = versions.oldest(progress.policyVersion, config.maxStaleness);
    const segments = await buffer.take(config.chunksPerUpdate, oldest, signal);
    const collected = performance.now();

    // Estimate advantages.
    const rate = (observations: readonly Observation[]) => trainer.rateNewness(observations);
    const { estimates, rewards } = await estimateSegments(segments, config, rate);

    // Update.
    const learningRateScale = stepSizeScale(config, progress);
    const { metrics: { refusedChunks, ...metrics }, weights, tensors } = await trainer.update(
      estimates,
      {
        update: progress.updates + 1,
        policyVersion: progress.policyVersion,
        learningRateScale,
        isCriticAlone: policyLossWeight(progress.updates, config.criticWarmUpUpdates) === 0,
      },
    );
    // A stop during the update does not undo it: weights and optimiser stay a pair.

    // Publish.
    const ages = estimates.map((e) =>
      versions.age(e.transition.policyVersion, progress.policyVersion)
    );
    progress.updates++;
    progress.policyVersion++;
    progress.chunksTrained += estimates.length;
    progress.controlSteps += estimates.reduce((n, e) => n + e.transition.stepsExecuted, 0);
    progress.episodes = episodes.total;
    await publish(progress.policyVersion, weights);
    if (refusedChunks.length > 0) refuse(withChunks(refusedChunks, segments));

    const now = performance.now();
    const finished = episodes.takeFinished();
    const record: UpdateRecord = {
      update: progress.updates,
      policyVersion: progress.policyVersion,
      ...summarize(finished),
      chunkReward: mean(estimates.map((e) => e.transition.reward)),
      chunks: estimates.length,
      chunksPerSecond: estimates.length / ((now - last) / 1000),
      rewardEnvironment: rewards.environment,
      rewardHuman: rewards.human,
      rewardIntrinsic: rewards.intrinsic,
      weightAge: mean(ages),
      weightAgeMax: Math.max(...ages),
      learningRateScale,
      collectSeconds: (collected - last) / 1000,
      updateSeconds: (now - collected) / 1000,
      staleChunks: buffer.drops.stale,
      orphanedChunks: buffer.drops.orphaned,
      tensors,
      ...metrics,
    };
    last = now;
    await onUpdate(record, weights);
  }
}

/** Each refusal with the chunk that it names. */
function withChunks(
  refused: readonly RefusedTransition[],
  segments: readonly Segment[],
): RefusedChunk[] {
  const byId = new Map(segments.flatMap(({ chunks }) => chunks.map((c) => [c.chunkId, c])));
  return refused.flatMap((refusal) => {
    const chunk = byId.get(refusal.chunkId ?? "");
    return chunk ? [{ chunk, refusal }] : [];
  });
}

function isFinished(config: Config, progress: Progress): boolean {
  return config.updates > 0
    ? progress.updates >= config.updates
    : progress.controlSteps >= config.totalSteps;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

function summarize(finished: readonly FinishedEpisode[]) {
  if (finished.length === 0) return { episodeReward: null, successRate: null, episodesFinished: 0 };
  return {
    episodeReward: mean(finished.map((e) => e.reward)),
    successRate: mean(finished.map((e) => (e.isSuccess ? 1 : 0))),
    episodesFinished: finished.length,
  };
}

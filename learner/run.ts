/**
 * A whole learner: opens everything, runs the loop, closes everything.
 * @module
 */

import type { CheckpointMetadata } from "../common/checkpoint/metadata.ts";
import type { Config } from "../common/config/config.ts";
import { chooseCheckpoint } from "../common/policy/choose_checkpoint.ts";
import { chooseOrRandom, loadFailurePolicy } from "../common/policy/load_failure.ts";
import type { Logger } from "../common/types.ts";
import { CheckpointWriter } from "./checkpoint_writer.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { EpisodeLog } from "./episode_log.ts";
import { LearnerMetrics } from "./metrics/prometheus.ts";
import { RunRecorder } from "./run_recorder.ts";
import { ChunkDedup, createIntake } from "./server/dedup.ts";
import { LearnerServer } from "./server/learner_server.ts";
import { type Progress, runTrainLoop, type UpdateRecord } from "./train_loop.ts";
import { Trainer } from "./trainer.ts";

/** What a learner gets from its surroundings. */
export interface LearnerSurroundings {
  /** The token that peers must show; null for none. */
  readonly token: string | null;
  /** Weights & Biases key; undefined for none. */
  readonly wandbApiKey: string | undefined;
  /** How it was started, for the record. */
  readonly command: string;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Stops the run in good order. */
  readonly signal: AbortSignal;
  /** Called when the server is bound. */
  readonly onListening?: (url: string) => void;
  /** Called after each update. */
  readonly onUpdate?: (record: UpdateRecord) => void;
}

/** What a run came to. */
export interface LearnerSummary extends Progress {
  /** Folder of the last checkpoint written; null if none was. */
  readonly checkpoint: string | null;
  /** Seconds from the start to the end. */
  readonly seconds: number;
}

/**
 * Run a learner until its updates are done or the signal stops it.
 * A stop writes a checkpoint first, if any update was made since the last one.
 */
export async function runLearner(
  config: Config,
  surroundings: LearnerSurroundings,
): Promise<LearnerSummary> {
  const { logger, token, signal } = surroundings;
  const start = performance.now();
  // There are only simulated robots yet.
  const onFailure = loadFailurePolicy("simulated", config.onLoadFailure);
  const choice = await chooseOrRandom(config, onFailure);
  for (const note of choice.notes) logger.warn(note);
  const before = choice.metadata;
  using trainer = new Trainer();
  // A resumed run keeps to the imitation policy that it began with, not to where it stopped.
  const origin = config.klWeight > 0
    ? await chooseCheckpoint({ ...config, resume: false })
    : choice;
  const ready = await trainer.start(choice.path, origin.path, config);
  for (const note of ready.notes) logger.warn(note);
  logger.info(`${choice.reason}: ${choice.path}; computing on ${ready.device}`);

  // What a run began with stays in its record when it is resumed.
  const resumed = config.resume ? before : undefined;
  const initialization = resumed?.initialization ?? ready.initialization;
  const randomNotes = ready.initialization === "random" ? ready.notes : resumed?.notes ?? [];

  const progress = initialProgress(before, config.resume);
  // Whoever was told to wait goes on when too little is left: chunks may have grown stale.
  const buffer = new ChunkBuffer(() => server.setBusy(false));
  const episodes = new EpisodeLog(progress.episodes);
  let latest: UpdateRecord | null = null;
  const metrics: LearnerMetrics = new LearnerMetrics(() => ({
    controllers: server.controllers().length,
    policyVersion: progress.policyVersion,
  }));
  const recorder = new RunRecorder({ config, ...surroundings, sinks: [metrics] });
  const server: LearnerServer = new LearnerServer({
    host: config.host,
    token,
    runName: config.expName,
    initialization,
    signature: ready.signature,
    initialWeights: {
      version: progress.policyVersion,
      progress: runProgress(config, progress),
      tensors: ready.weights,
    },
    intake: createIntake(new ChunkDedup(), (chunk) => {
      buffer.add(chunk);
      recorder.episode(episodes.add(chunk));
    }),
    status: () => ({
      name: config.expName,
      initialization,
      ...progress,
      chunksReady: buffer.ready,
      drops: buffer.drops,
      controllers: server.controllers(),
      latest,
    }),
    registry: metrics,
    metrics,
    logger,
    maxControllers: config.maxControllers,
    maxFrameBytes: config.maxMessageMib * 2 ** 20,
  });

  // One batch waits while another is trained on; more would only grow stale.
  buffer.onReady = (chunks) => server.setBusy(chunks >= config.chunksPerUpdate);

  const checkpoints = new CheckpointWriter({
    config,
    command: surroundings.command,
    model: ready.model,
    startedFrom: choice.path,
    initialization,
    notes: randomNotes,
    trainer,
  });
  let outcome = "failed";
  let weights = ready.weights;
  try {
    const listener = server.listen({ port: config.port });
    // Only now that nothing in the way is left does the experiment's folder come to be.
    await recorder.open();
    logger.info(`learner listens on ${listener.url}`);
    surroundings.onListening?.(listener.url);
    await runTrainLoop({
      config,
      buffer,
      episodes,
      trainer,
      progress,
      signal,
      publish: (version, tensors) =>
        server.publish(version, tensors, runProgress(config, progress)),
      onUpdate: async (record, newWeights) => {
        latest = record;
        weights = newWeights;
        if (record.malformedChunks > 0) {
          logger.warn(`${record.malformedChunks} chunks cannot have been sampled; left out`);
        }
        await recorder.update(record);
        surroundings.onUpdate?.(record);
        if (config.saveEveryUpdates > 0 && record.update % config.saveEveryUpdates === 0) {
          await recorder.checkpoint(await checkpoints.write(progress, record, weights), progress);
        }
      },
    });
    outcome = "finished";
  } catch (error) {
    if (error !== signal.reason) throw error;
    outcome = "stopped";
    logger.warn("stopping");
  } finally {
    if (outcome !== "failed" && checkpoints.lastUpdate !== progress.updates && latest !== null) {
      const path = await checkpoints.write(progress, latest, weights);
      await recorder.checkpoint(path, progress);
    }
    await recorder.end(outcome);
    await server.close(outcome === "finished" ? { runOver: "The run has finished" } : {});
  }
  return {
    ...progress,
    checkpoint: checkpoints.lastPath,
    seconds: (performance.now() - start) / 1000,
  };
}

/** How much of the run is done, 0–1. */
function runProgress(config: Config, { updates, controlSteps }: Progress): number {
  const done = config.updates > 0 ? updates / config.updates : controlSteps / config.totalSteps;
  return Math.min(1, done);
}

/**
 * Where a resumed run stood. A new one counts from 0, whatever policy it starts from; versions grow
 * on all the same, since the controllers start from that policy too.
 */
function initialProgress(
  { policyVersion, training }: CheckpointMetadata,
  isResumed: boolean,
): Progress {
  if (!isResumed) {
    return { updates: 0, policyVersion, chunksTrained: 0, controlSteps: 0, episodes: 0 };
  }
  const { updates, chunks, controlSteps, episodes } = training;
  return { updates, policyVersion, chunksTrained: chunks, controlSteps, episodes };
}

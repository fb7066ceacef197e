/**
 * A whole learner: opens everything, runs the loop, closes everything.
 * @module
 */

import { join } from "node:path";
import { readTrainStateFiles } from "../common/checkpoint/checkpoint.ts";
import type { CheckpointMetadata } from "../common/checkpoint/metadata.ts";
import type { Config } from "../common/config/config.ts";
import { chooseCheckpoint } from "../common/policy/choose_checkpoint.ts";
import { chooseOrRandom, loadFailurePolicy } from "../common/policy/load_failure.ts";
import type { ChunkTransition, Logger } from "../common/types.ts";
import { CheckpointWriter } from "./checkpoint_writer.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { EpisodeLog } from "./episode_log.ts";
import { LearnerMetrics } from "./metrics/prometheus.ts";
import { PolicyVersions, readPublishedVersion, writePublishedVersion } from "./policy_versions.ts";
import { RunRecorder } from "./run_recorder.ts";
import { ChunkDedup, createIntake } from "./server/dedup.ts";
import { LearnerServer } from "./server/learner_server.ts";
import { type Progress, runTrainLoop, type UpdateRecord } from "./train_loop.ts";
import { troublesOf } from "./ppo/update_metrics.ts";
import { decodeTrainState, type TrainState } from "./train_state.ts";
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
 * A stop writes a checkpoint first, if any update was made or any chunk was acknowledged since the last
 * one: nobody sends such a chunk again.
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
  const stored = config.resume
    ? decodeTrainState(await readTrainStateFiles(choice.path), choice.path)
    : null;
  using trainer = new Trainer();
  const anchor = await chooseAnchor(config, choice.path, stored);
  const ready = await trainer.start({
    checkpoint: choice.path,
    reference: anchor,
    config,
    state: stored?.trainer,
  });
  for (const note of ready.notes) logger.warn(note);
  logger.info(`${choice.reason}: ${choice.path}; computing on ${ready.device}`);

  // What a run began with stays in its record when it is resumed.
  const resumed = config.resume ? before : undefined;
  const initialization = resumed?.initialization ?? ready.initialization;
  const randomNotes = ready.initialization === "random" ? ready.notes : resumed?.notes ?? [];

  const progress = initialProgress(before, config.resume);
  const folder = join(config.checkpointDir, config.expName);
  const { policyVersion, versions } = new PolicyVersions(stored?.versionJumps).resume(
    before.policyVersion,
    await readPublishedVersion(folder),
  );
  if (policyVersion !== before.policyVersion) {
    const when = config.resume ? "after this checkpoint" : "by an earlier run of this name";
    logger.warn(
      `Versions ${before.policyVersion + 1} to ${policyVersion - 1} were published ${when} ` +
        `and are lost: the checkpoint's weights go on as version ${policyVersion}`,
    );
    progress.policyVersion = policyVersion;
  }
  // Whoever was told to wait goes on when too little is left: chunks may have grown stale.
  const buffer = new ChunkBuffer(() => server.setBusy(false));
  for (const chunk of stored?.chunks ?? []) buffer.add(chunk);
  if (stored && stored.chunks.length > 0) {
    logger.info(`${stored.chunks.length} chunks that waited when the run stopped are there again`);
  }
  // Of chunks that a run resumed with nobody knows it.
  const senders = new WeakMap<ChunkTransition, string>();
  const dedup = new ChunkDedup(undefined, stored?.acceptedIds);
  const episodes = new EpisodeLog(
    stored?.episodesTotal ?? progress.episodes,
    stored?.openEpisodes,
    stored?.finishedEpisodes,
  );
  // What is in memory alone, and not in a checkpoint.
  const unsaved = { updates: 0, chunks: 0 };
  let latest: UpdateRecord | null = null;
  const metrics: LearnerMetrics = new LearnerMetrics(() => ({
    controllers: server.controllers().length,
    policyVersion: progress.policyVersion,
  }));
  const recorder = new RunRecorder({ config, ...surroundings, sinks: [metrics] });
  const hasController = Promise.withResolvers<void>();
  const server: LearnerServer = new LearnerServer({
    onController: hasController.resolve,
    host: config.host,
    token,
    runName: config.expName,
    initialization,
    wantsImageTokens: ready.wantsImageTokens,
    signature: ready.signature,
    initialWeights: {
      version: progress.policyVersion,
      progress: runProgress(config, progress),
      tensors: ready.weights,
    },
    isLostVersion: (version) => versions.isLost(version),
    intake: createIntake(dedup, (chunk, controllerId) => {
      buffer.add(chunk);
      senders.set(chunk, controllerId);
      unsaved.chunks++;
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
    anchor: config.klWeight > 0 ? anchor : "",
    versionJumps: versions.jumps,
    metrics: resumed?.training.metrics ?? {},
    collection: () => {
      unsaved.updates = unsaved.chunks = 0;
      return {
        chunks: buffer.chunks(),
        acceptedIds: dedup.ids(),
        openEpisodes: episodes.open,
        episodesTotal: episodes.total,
        finishedEpisodes: episodes.finished,
      };
    },
  });
  const save = async () =>
    recorder.checkpoint(await checkpoints.write(progress, latest, weights), progress);
  // A disk that is full ends the run at its next checkpoint; until then it goes on.
  const noteVersion = async (version: number) => {
    try {
      await writePublishedVersion(folder, version);
    } catch (error) {
      logger.warn(`Cannot note that version ${version} is published: ${(error as Error).message}`);
    }
  };
  let outcome = "failed";
  let weights = ready.weights;
  try {
    const listener = server.listen({ port: config.port });
    // Only now that nothing in the way is left does the experiment's folder come to be.
    await recorder.open();
    await noteVersion(policyVersion);
    logger.info(`learner listens on ${listener.url}`);
    surroundings.onListening?.(listener.url);
    // Chunks that waited may be all that is needed: controllers must hear of the run's end all the same.
    if (buffer.ready > 0) await abortable(hasController.promise, signal);
    await runTrainLoop({
      config,
      buffer,
      episodes,
      trainer,
      progress,
      signal,
      versions,
      publish: async (version, tensors) => {
        await noteVersion(version);
        server.publish(version, tensors, runProgress(config, progress));
      },
      refuse: (refused) => {
        for (const [sender, own] of Map.groupBy(refused, ({ chunk }) => senders.get(chunk))) {
          server.refuse(sender, own.map(({ refusal }) => refusal));
        }
      },
      onUpdate: async (record, newWeights) => {
        latest = record;
        weights = newWeights;
        unsaved.updates++;
        for (const sentence of troublesOf(record)) logger.warn(sentence);
        await recorder.update(record);
        surroundings.onUpdate?.(record);
        if (config.saveEveryUpdates > 0 && record.update % config.saveEveryUpdates === 0) {
          await save();
        }
      },
    });
    outcome = "finished";
  } catch (error) {
    if (error !== signal.reason) throw error;
    outcome = "stopped";
    logger.warn("stopping");
  } finally {
    // First, so that nothing is acknowledged that the last checkpoint does not hold.
    await server.close(outcome === "finished" ? { runOver: "The run has finished" } : {});
    // A run that is over needs the chunks that wait no more; one that was stopped may go on with them.
    const isNeeded = unsaved.updates > 0 || (outcome === "stopped" && unsaved.chunks > 0);
    if (outcome !== "failed" && isNeeded) {
      await save();
      const waiting = buffer.chunks().length;
      if (outcome === "stopped" && waiting > 0) {
        logger.info(
          `${waiting} chunks wait in ${checkpoints.lastPath}; --resume goes on with them`,
        );
      }
    }
    await recorder.end(outcome);
  }
  return {
    ...progress,
    checkpoint: checkpoints.lastPath,
    seconds: (performance.now() - start) / 1000,
  };
}

/** Folder of the imitation policy that the KL is to: a resumed run keeps to the one it began with. */
async function chooseAnchor(
  config: Config,
  checkpoint: string,
  stored: TrainState | null,
): Promise<string> {
  if (config.klWeight === 0) return checkpoint;
  if (stored && stored.anchor !== "") return stored.anchor;
  return config.resume ? (await chooseCheckpoint({ ...config, resume: false })).path : checkpoint;
}

/** A promise, or the signal's reason thrown if that comes first. */
async function abortable(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
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

/**
 * A whole controller: opens robots, policy, link and status page, runs the loop, closes everything.
 * @module
 */

import { endsEpisode } from "../common/chunk_end.ts";
import type { Config } from "../common/config/config.ts";
import { listen } from "../common/http/listen.ts";
import { closeGpu, currentGpu, useGpu } from "../common/device/current_gpu.ts";
import { DeviceSupervisor } from "../common/device/device_supervisor.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { type ChosenDevice, useDevice } from "../common/policy/backend.ts";
import { chooseDecoder } from "../common/engine/choose_decoder.ts";
import { policySignature } from "../common/policy/load.ts";
import { chooseOrRandom, loadFailurePolicy } from "../common/policy/load_failure.ts";
import { loadOnDevice } from "../common/policy/load_on_device.ts";
import { loadOrRandom } from "../common/policy/load_or_random.ts";
import { parameterCount } from "../common/policy/parameters.ts";
import type { Initialization } from "../common/checkpoint/metadata.ts";
import { normal, seededRandom } from "../common/random.ts";
import type { ChunkTransition, Logger } from "../common/types.ts";
import { ActingPolicy } from "./acting_policy.ts";
import { armsSource } from "./aloha/arms_source.ts";
import type { RobotFlags } from "./aloha/flags.ts";
import type { ArmsKind } from "./aloha/robot_arms.ts";
import { runControlLoop } from "./control_loop.ts";
import { HELD_OUT_SEED } from "./evaluation.ts";
import { holdWeights } from "./held_weights.ts";
import { ImageTokenSwitch } from "./image_token_switch.ts";
import { LearnerLink } from "./learner_link.ts";
import { type LinkTimes, TimedSink } from "./link_times.ts";
import { learnerRefusal } from "./safety/admission.ts";
import { describePolicy, policyGauges, policyStatus } from "./policy_status.ts";
import { simulatedSource } from "./sim/simulated_source.ts";
import type { RolloutTimes } from "./rollout.ts";
import { createControllerApp } from "./status.ts";

/** Which robot a controller drives. */
export type RobotChoice =
  | { readonly kind: "simulated" }
  | {
    readonly kind: ArmsKind;
    /** What the command line says about the arms. */
    readonly flags: RobotFlags;
    /** The environment's `TENDON_DXL_LIBRARY`; empty for none. */
    readonly libraryVariable: string;
  };

/** What a controller gets from its surroundings. */
export interface ControllerSurroundings {
  /** Which robot it drives. */
  readonly robot: RobotChoice;
  /** Its id, unique over all controllers of a learner. */
  readonly controllerId: string;
  /** The token that peers must show; null for none. */
  readonly token: string | null;
  /** Folder of what is remembered between runs, such as a GPU's fastest kernels; none if absent. */
  readonly cacheFolder?: string;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Stops the controller in good order; arms stop at once. */
  readonly signal: AbortSignal;
  /** Called when the status page is bound. */
  readonly onListening?: (url: string) => void;
}

/** What a run came to. */
export interface ControllerSummary {
  /** Chunks executed. */
  readonly chunks: number;
  /** Chunks sent to the learner, each counted once. */
  readonly chunksSent: number;
  /** Chunks that the learner accepted. */
  readonly chunksAcknowledged: number;
  /** Chunks dropped because the learner was away for too long. */
  readonly chunksDropped: number;
  /** Episodes finished. */
  readonly episodes: number;
  /** Of those, successes. */
  readonly successes: number;
  /** Version of the last weights. */
  readonly policyVersion: number;
  /** Milliseconds in the policy, in physics, in observing and at the link; of them all, `loopMs`. */
  readonly times: Readonly<RolloutTimes & LinkTimes> & { readonly loopMs: number };
}

/** Run a controller until the learner ends the run or the signal stops it. */
export async function runController(
  config: Config,
  surroundings: ControllerSurroundings,
): Promise<ControllerSummary> {
  const { logger, token, controllerId, robot, cacheFolder } = surroundings;
  const isReal = robot.kind === "aloha";
  if (isReal && !config.constrainedDecoding) {
    throw new Error(
      "Cannot drive real arms without constrained decoding: they would move on chunks that do not " +
        "decode; leave --no-constrained-decoding out.",
    );
  }
  const wanted = await useDevice(config.device);
  const decoders = chooseDecoder({ choice: config.decoder, device: wanted, cacheFolder, logger });
  const onFailure = loadFailurePolicy(isReal ? "real" : "simulated", config.onLoadFailure);
  const choice = await chooseOrRandom(config, onFailure);
  for (const note of choice.notes) logger.warn(note);
  let random = seededRandom(config.seed);
  const load = () => {
    // The same numbers each time: what is drawn of a policy is the same again after a lost GPU.
    const source = random = seededRandom(config.seed);
    const normals = () => normal(source);
    return loadOrRandom(choice.path, { ...config, decoders, normal: normals }, onFailure);
  };
  const { variant } = choice.metadata.model;
  const { device, loaded: { policy, notes, initialization } } = await loadOnDevice({
    device: wanted,
    variant,
    load,
    logger,
  });
  using acting = new ActingPolicy(policy, {
    load: async () => (await load()).policy,
    checkDevice: () => currentGpu()?.check(),
    supervisor: superviseDevice(device, policy, logger),
  });
  if (initialization === "random") { for (const note of notes) logger.warn(note); }
  logger.info(`${choice.reason}: ${choice.path}; ${describePolicy(policy, device)}`);

  const counts = { chunks: 0, episodes: 0, successes: 0, policyVersion: 0 };
  const signature = policySignature(policy, config.temperature);
  const stop = new AbortController();
  const signal = AbortSignal.any([surroundings.signal, stop.signal]);
  const nextEpisode = episodeSource(controllerId, config.seed);
  let learnerBeganWith: Initialization = initialization;
  const imageTokens = new ImageTokenSwitch();
  await using source = robot.kind === "simulated"
    ? await simulatedSource(config, {
      imageSize: policy.shape.variant.siglip.imageSize,
      random,
      nextEpisode,
      keepsImageTokens: () => imageTokens.isOn,
    })
    : await armsSource(config, {
      ...robot,
      policy,
      signature,
      weights: () => ({
        weights: counts.policyVersion > 0 ? "learner" : initialization,
        startedFrom: learnerBeganWith,
      }),
      random,
      nextEpisode,
      logger,
      signal,
      onInterrupt: () => stop.abort(),
    });
  const { runner } = source;
  const link = new LearnerLink({
    url: config.learnerUrl,
    token,
    controllerId,
    signature,
    refuseLearner: (learner) => {
      const refusal = isReal ? learnerRefusal(learner) : null;
      if (refusal === null) {
        learnerBeganWith = learner.initialization;
        imageTokens.onWelcome(learner);
      }
      return refusal;
    },
    random: seededRandom(config.seed + 1),
    logger,
    outboxCapacity: config.outboxCapacity,
    windowChunks: Math.min(config.outboxCapacity, 4 * config.numEnvs),
    maxFrameBytes: config.maxMessageMib * 2 ** 20,
  });
  const app = createControllerApp({
    host: config.host,
    token,
    logger,
    status: () => ({
      ...counts,
      link: link.state,
      counts: link.counts(),
      times: runner.times,
      initialization,
      ...policyStatus(acting.current),
      task: config.task,
      robots: source.robots,
      robot: source.status(),
    }),
    gauges: [...source.gauges, ...policyGauges(() => policyStatus(acting.current))],
    commands: source.commands,
  });
  const listener = listen((request) => app.fetch(request), {
    host: config.host,
    port: config.controllerPort,
  });
  logger.info(`controller's status is at ${listener.url}/status`);
  surroundings.onListening?.(listener.url);

  const sink = new TimedSink(holdWeights(link, config.holdWeights, () => link.counts().reconnects));
  const start = performance.now();
  let loopMs = 0;
  try {
    link.connect();
    const ended = link.ended.then((end) => {
      stop.abort();
      return end;
    });
    await runControlLoop({
      runner,
      policy: () => acting.ready(),
      assign: (weights) => {
        sink.timed("weightsMs", () => acting.assign(weights));
        counts.policyVersion = weights.version;
        imageTokens.onWeights();
      },
      recover: (lost) => acting.recover(lost),
      sink,
      policyVersion: choice.metadata.policyVersion,
      onChunks: (transitions) => count(counts, transitions),
      signal,
    });
    loopMs = performance.now() - start;
    if (stop.signal.aborted) {
      const end = await ended;
      if (end.reason === "refused") throw new Error(end.sentence);
      logger.info(end.sentence);
    }
  } finally {
    await link.close();
    await listener.close();
  }
  const sent = link.counts();
  return {
    ...counts,
    chunksSent: sent.sent,
    chunksAcknowledged: sent.acked,
    chunksDropped: sent.dropped,
    times: { ...runner.times, ...sink.times, loopMs },
  };
}

/** Rebuild the GPU that was chosen when it is lost, or go on without where the policy is small. */
function superviseDevice(
  { gpu }: ChosenDevice,
  { network }: ActorCritic,
  logger: Logger,
): DeviceSupervisor {
  const { backbone, valueHead } = network;
  return new DeviceSupervisor({
    openGpu: () => useGpu({ allowSoftware: gpu?.info.isSoftware ?? false }),
    useWasm: async () => {
      await closeGpu();
      await useDevice("wasm");
    },
    parameterCount: parameterCount([...backbone.specs, ...valueHead.specs]),
    now: () => performance.now(),
    logger,
  });
}

/**
 * Seeds of training episodes: below the held-out ones, and different for each seed of the run. Ids
 * differ between restarts too, or a learner would take a restarted controller's chunks for old ones.
 */
function episodeSource(controllerId: string, seed: number) {
  const random = seededRandom(seed ^ 0x5eed);
  const start = crypto.randomUUID().slice(0, 8);
  let episode = 0;
  return () => ({
    seed: Math.floor(random() * HELD_OUT_SEED),
    episodeId: `${controllerId}-${start}-${episode++}`,
  });
}

function count(
  counts: { chunks: number; episodes: number; successes: number },
  transitions: readonly ChunkTransition[],
): void {
  counts.chunks += transitions.length;
  for (const transition of transitions) {
    if (!endsEpisode(transition)) continue;
    counts.episodes++;
    if (transition.isSuccess) counts.successes++;
  }
}

/**
 * Two arms, real or emulated, with their world, as a source of chunks.
 *
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import type { Logger } from "../../common/types.ts";
import type { Signature } from "../../common/wire/messages.ts";
import { UsageError } from "../../common/cli/flags.ts";
import { ARM_NAMES } from "../../common/robot/aloha.ts";
import { CameraSet } from "../camera/camera_set.ts";
import type { ChunkSource } from "../chunk_source.ts";
import { CURRENT_EPISODE, EpisodeLabels } from "../episode_labels.ts";
import { humanCommands } from "../human_commands.ts";
import type { EpisodeStart } from "../rollout.ts";
import { type AdmissionFacts, admissionRefusals } from "../safety/admission.ts";
import { TASK_PROMPTS } from "../sim/task_names.ts";
import { Takeover } from "../takeover.ts";
import { sharedNowMs } from "../threads/clock.ts";
import { AlohaRobot } from "./aloha_robot.ts";
import { ArmRollout } from "./arm_rollout.ts";
import { armsSettings, type RobotFlags } from "./flags.ts";
import { KEY_LIST, openKeys } from "./operator/keys.ts";
import type { ArmsKind } from "./robot_arms.ts";
import { robotGauges } from "./robot_gauges.ts";
import { CameraWorld } from "./world/camera_world.ts";
import type { EpisodeWorld } from "./world/episode_world.ts";
import { withPictures } from "./world/pictures.ts";
import { SceneWorld } from "./world/scene_world.ts";

/** What {@link armsSource} is told beside the configuration. */
export interface ArmsSourceOptions {
  /** Which arms. */
  readonly kind: ArmsKind;
  /** What the command line says about them. */
  readonly flags: RobotFlags;
  /** The environment's `TENDON_DXL_LIBRARY`; empty for none. */
  readonly libraryVariable: string;
  /** The policy that will move them. */
  readonly policy: ActorCritic;
  /** Its signature. */
  readonly signature: Signature;
  /** Where its weights come from, and those of the learner it hears. */
  readonly weights: () => Pick<AdmissionFacts, "weights" | "startedFrom">;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /** Names the next episode. */
  readonly nextEpisode: () => EpisodeStart;
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Ends everything. */
  readonly signal: AbortSignal;
  /** Ends everything: for a key that means it. */
  readonly onInterrupt: () => void;
}

/** Two arms as a source of chunks. */
export interface ArmsSource extends ChunkSource {
  /** The robot itself, for those who measure it or inject faults. */
  readonly robot: AlohaRobot;
  /** Its cameras; null where the simulated scene is shown. */
  readonly cameras: CameraSet | null;
}

/** Age of a picture beyond which the arms may not act on it, where the cameras do not say, in ms. */
const MAX_CAMERA_AGE_MS = 1_000;

/**
 * Open arms and their world. The arms are looked at and hold; nothing moves yet.
 *
 * @param config The configuration.
 * @param options Which arms, which policy.
 * @returns The source; dispose of it: the arms hold then, with torque on.
 * @throws {UsageError} A flag is missing.
 * @throws {Error} The arms are not fit, or something cannot be opened; the sentence says what to do.
 */
export async function armsSource(
  config: Config,
  options: ArmsSourceOptions,
): Promise<ArmsSource> {
  const { kind, flags, policy, signature, logger, signal } = options;
  // Said before anything is opened; the rollout looks at the policy's own horizon again.
  if (flags.execution === "overlap" && 2 * flags.overlapSteps >= config.horizon) {
    throw new UsageError(
      `Invalid --overlap-steps: it is ${flags.overlapSteps}, but chunks of ${config.horizon} steps ` +
        "overlap by less than half of that.",
    );
  }
  const settings = await armsSettings(kind, flags, options.libraryVariable);
  const autoStart = flags.autoStart || kind === "emulated";
  const prompt = flags.prompt || TASK_PROMPTS[config.task];
  await using stack = new AsyncDisposableStack();
  const cameras = await openCameras(kind, flags.cameras, policy, config.seed, logger);
  if (cameras !== null) stack.use(cameras);
  const robot = stack.use(
    await AlohaRobot.open({
      settings,
      stopMode: flags.stopMode,
      heartbeatTimeoutMs: flags.heartbeatTimeoutMs,
      needsStart: !autoStart,
      stepLog: flags.stepLog,
      task: { name: config.task, prompt },
      logger,
    }),
  );
  // A signal stops the arms at once; what it ends in good order comes after.
  signal.addEventListener("abort", () => {
    robot.stop.trigger("signal", "the controller was told to end");
  }, { once: true });
  const keys = openKeys(Deno.stdin, {
    operator: robot.operator,
    onInterrupt: options.onInterrupt,
    logger,
  });
  if (keys !== null) stack.use(keys);
  const world = stack.use(
    await openWorld(config, { kind, prompt, autoStart, cameras, policy, robot, logger }),
  );
  await robot.connect();

  const cameraAges = () =>
    cameras?.report().map(({ name, ageMs }) => ({ name, ageMs: ageMs ?? Infinity })) ??
      [{ name: "cam_high", ageMs: 0 }, { name: "cam_left_wrist", ageMs: 0 }, {
        name: "cam_right_wrist",
        ageMs: 0,
      }] as const;
  const labels = new EpisodeLabels();
  const takeover = new Takeover({ robots: 1, horizon: policy.shape.horizon });
  // Keys and HTTP say it to the operator, whoever else labels says it to the labels: one path.
  robot.operator.onEvent(({ kind }) => {
    if (kind === "success" || kind === "failure") labels.add({ episode: CURRENT_EPISODE, kind });
  });
  const rollout = new ArmRollout({
    arms: robot.arms,
    supervisor: robot.supervisor,
    world,
    mode: flags.execution,
    overlapSteps: flags.overlapSteps,
    nextEpisode: options.nextEpisode,
    waitForStart: async (signal) => {
      logger.info(`The arms wait for a start: Enter, or POST /start. ${keys ? KEY_LIST : ""}`);
      await robot.operator.waitForStart(signal);
    },
    refusals: () =>
      admissionRefusals({
        ...options.weights(),
        signature,
        requiredSignature: requiredOf(config),
        cameras: cameraAges(),
        maxCameraAgeMs: MAX_CAMERA_AGE_MS,
        arms: ARM_NAMES.map((name) => ({ name, isChecked: robot.supervisor.status.isChecked })),
        limits: settings.loaded.limits,
      }),
    temperature: config.temperature,
    random: options.random,
    execution: config,
    labels,
    askVerdict: () => robot.operator.askVerdict(),
    takeover,
    logger,
    record: (what, text) => robot.record(what, text),
    signal,
  });
  robot.onRecord = (record) => rollout.onRecord(record);
  robot.onPoll = () => {
    const stale = cameras?.staleness() ?? null;
    if (stale !== null) rollout.interrupt(`a camera is away: ${stale}`);
  };
  const owned = stack.move();
  return {
    robot,
    cameras,
    runner: rollout,
    robots: 1,
    status: () => ({
      ...robot.status(),
      execution: flags.execution,
      episodes: labels.running,
      takenOver: takeover.robot,
      lateChunks: rollout.lateChunks,
      interruptions: rollout.interruptions,
      cameras: cameras?.report() ?? "the simulated scene",
    }),
    commands: { ...robot.commands, ...humanCommands({ labels, takeover }) },
    gauges: robotGauges(robot),
    [Symbol.asyncDispose]: async () => {
      await owned.disposeAsync();
      logger.info("The arms hold their pose by torque: `deno task robot sleep` lays them down");
    },
  };
}

/** What this robot needs of a policy, as the flags say it. */
function requiredOf(config: Config): Signature {
  const { horizon, actionDim, maxTokenLen, temperature, adaptToPi } = config;
  return {
    chunk:
      `${horizon}x${actionDim}, at most ${maxTokenLen} text tokens, temperature ${temperature}`,
    convention: adaptToPi ? "pi" : "aloha",
  };
}

async function openCameras(
  kind: ArmsKind,
  path: string,
  policy: ActorCritic,
  seed: number,
  logger: Logger,
): Promise<CameraSet | null> {
  if (path === "") {
    if (kind === "emulated") return null;
    throw new UsageError(
      "A real robot needs its cameras: name a JSON file with --cameras; the README shows one.",
    );
  }
  let cameras: unknown;
  try {
    cameras = JSON.parse(await Deno.readTextFile(path));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SyntaxError(`Cannot read the cameras: ${path} is not JSON (${cause.message})`, {
      cause,
    });
  }
  if (!Array.isArray(cameras)) {
    throw new RangeError(`Cannot read the cameras: ${path} must hold a list, one entry a camera`);
  }
  const side = policy.shape.variant.siglip.imageSize;
  return await CameraSet.open({ cameras, side, seed, logger, now: sharedNowMs });
}

async function openWorld(
  config: Config,
  parts: {
    readonly kind: ArmsKind;
    readonly prompt: string;
    readonly autoStart: boolean;
    readonly cameras: CameraSet | null;
    readonly policy: ActorCritic;
    readonly robot: AlohaRobot;
    readonly logger: Logger;
  },
): Promise<EpisodeWorld> {
  const { kind, prompt, autoStart, cameras, policy, robot, logger } = parts;
  const { maxEpisodeSteps, task, transferCubeReward } = config;
  if (kind === "aloha") {
    const { operator } = robot;
    return new CameraWorld({
      prompt,
      pictures: cameras!,
      operator,
      maxEpisodeSteps,
      autoStart,
      logger,
    });
  }
  const imageSize = policy.shape.variant.siglip.imageSize;
  const scene = await SceneWorld.create({
    task,
    transferCube: { pays: transferCubeReward },
    imageSize,
    maxEpisodeSteps,
    now: sharedNowMs,
  });
  return cameras === null ? scene : withPictures(scene, cameras, logger);
}

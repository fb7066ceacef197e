/**
 * The task `reach` as files that a program in another language can simulate: the scene as MJCF, and
 * every number that the scene does not hold.
 *
 * @module
 */

import { join } from "node:path";
import { PRESETS } from "../../common/config/presets.ts";
import { chooseCheckpoint } from "../../common/policy/choose_checkpoint.ts";
import { ACTION_RANGES, ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { loadNormStats, unnormalize } from "../../common/tokenizer/normalization.ts";
import { HELD_OUT_SEED } from "../../controller/evaluation.ts";
import { FINGER } from "../../controller/kinematics/arm_geometry.ts";
import { SimulatedAloha } from "../../controller/sim/aloha_sim.ts";
import { START_NOISE_RAD } from "../../controller/sim/create_robots.ts";
import { REACH_BOX_M, REACH_DEFAULTS, ReachTask } from "../../controller/sim/reach_task.ts";
import { sceneXml, SUBSTEPS } from "../../controller/sim/scene.ts";

/** Files in a folder of {@link writeReachScene}. */
export const REACH_FILES = { scene: "reach.xml", task: "reach.json" } as const;

/** How an episode begins. */
export interface EpisodeBeginning {
  /** Joint positions `[16]`: per arm six joints (rad) and two fingers (m). Everything is at rest. */
  readonly qpos: readonly number[];
  /** The ball's centre in the world, in metres. */
  readonly ball: readonly number[];
}

/** What `reach.json` holds. */
export interface ReachFacts {
  /** Physics steps of a control step. */
  readonly substeps: number;
  /** Control steps after which an episode is cut off. */
  readonly maxEpisodeSteps: number;
  /** H: control steps of a chunk. */
  readonly horizon: number;
  /** Targets at the start `[14]`: rad, grippers 0–1. */
  readonly startTargets: readonly number[];
  /** Joints start within ± this of them, uniformly, in rad. */
  readonly startNoiseRad: number;
  /** Targets are clipped to these `[14]`. */
  readonly targetRanges: readonly { readonly min: number; readonly max: number }[];
  /** Finger positions of gripper 0 and 1, in metres. */
  readonly fingerM: { readonly min: number; readonly max: number };
  /** The ball is put uniformly into this box, in metres. */
  readonly box: { readonly min: readonly number[]; readonly max: readonly number[] };
  /** Success when the pinch point is this close to the ball's centre, in metres. */
  readonly successRadiusM: number;
  /** Reward a metre of progress. */
  readonly progressScale: number;
  /** Reward of the step that succeeds. */
  readonly successBonus: number;
  /** Cost of a control step. */
  readonly timePenalty: number;
  /**
   * A normalised action of −1 and of 1 `[14]`: for joints the difference from the state at the start
   * of the chunk (rad), for grippers the target.
   */
  readonly actions: { readonly low: readonly number[]; readonly high: readonly number[] };
  /** The held-out episodes that a policy of this project is measured on. */
  readonly heldOut: readonly EpisodeBeginning[];
}

/** A robot that {@link beginningOf} can look into. */
export async function createReachRobot(maxEpisodeSteps: number): Promise<SimulatedAloha> {
  return await SimulatedAloha.create({
    task: "reach",
    imageSize: 1,
    maxEpisodeSteps,
    startNoiseRad: START_NOISE_RAD,
  });
}

/** How the episode of a seed begins. */
export function beginningOf(robot: SimulatedAloha, seed: number): EpisodeBeginning {
  robot.resetSync(seed);
  if (!(robot.task instanceof ReachTask)) throw new TypeError("Cannot tell a ball: no reach here");
  return { qpos: [...robot.data.views.qpos], ball: robot.task.target };
}

/**
 * Write the scene and its facts.
 *
 * @param folder Made if it is not there.
 * @param heldOutEpisodes How many held-out episodes to describe.
 * @returns What was written as JSON.
 */
export async function writeReachScene(
  folder: string,
  heldOutEpisodes: number,
): Promise<ReachFacts> {
  const { maxEpisodeSteps, horizon } = PRESETS.demo;
  const { path } = await chooseCheckpoint(PRESETS.demo);
  const stats = await loadNormStats(join(path, "assets", "aloha", "norm_stats.json"));
  using robot = await createReachRobot(maxEpisodeSteps);
  const { successRadiusM, progressScale, successBonus, timePenalty } = REACH_DEFAULTS;
  const facts: ReachFacts = {
    substeps: SUBSTEPS,
    maxEpisodeSteps,
    horizon,
    startTargets: [...resetState(1)],
    startNoiseRad: START_NOISE_RAD,
    targetRanges: ACTION_RANGES,
    fingerM: FINGER.commandRangeM,
    box: REACH_BOX_M,
    successRadiusM,
    progressScale,
    successBonus,
    timePenalty,
    actions: {
      low: [...unnormalize(new Float32Array(ALOHA_DIM).fill(-1), stats.actions)],
      high: [...unnormalize(new Float32Array(ALOHA_DIM).fill(1), stats.actions)],
    },
    heldOut: Array.from(
      { length: heldOutEpisodes },
      (_, i) => beginningOf(robot, HELD_OUT_SEED + i),
    ),
  };
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(join(folder, REACH_FILES.scene), sceneXml("reach"));
  await Deno.writeTextFile(join(folder, REACH_FILES.task), JSON.stringify(facts));
  return facts;
}

/**
 * Records scripted demonstrations as what imitation trains on: an observation and the chunk of
 * actions that followed it.
 * @module
 */

import { ALOHA_DIM, RESET_POSE_RAD } from "../../common/robot/aloha.ts";
import { type RandomSource, uniform } from "../../common/random.ts";
import type { Observation } from "../../common/types.ts";
import type { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator, type DemonstratorOptions } from "./demonstrator.ts";
import { solveIk } from "./ik.ts";
import { ReachTask } from "./reach_task.ts";

/** How far from the ball a scattered demonstration may begin, along each axis, in metres. */
const SCATTER_M = 0.12;
/** The least height of the pinch point at which it may begin, in metres: clear of the table. */
const MIN_HEIGHT_M = 0.08;

/** One training example. */
export interface Demonstration {
  /** What the robot showed. */
  readonly observation: Observation;
  /** The next H commanded targets, `[H, 14]`; past the episode's end the last one is repeated. */
  readonly actions: Float32Array;
  /** Where things are, about as large as 1; no policy sees it. */
  readonly scene?: Float32Array;
}

/** How to record. */
export interface RecordOptions {
  /** Episodes to record. */
  readonly episodes: number;
  /** Seed of the first episode; the others follow. */
  readonly firstSeed: number;
  /** H. */
  readonly horizon: number;
  /** Control steps between two examples of an episode. */
  readonly stride: number;
  /** How good the demonstrator is. */
  readonly demonstrator: DemonstratorOptions;
  /**
   * Some episodes of reach begin with the gripper around the ball, not at the reset pose: they show
   * ways back from where a policy that has missed gets to. None if absent.
   */
  readonly scatter?: {
    /** Share of the episodes, 0–1. */
    readonly share: number;
    /** Independent uniform numbers in [0, 1). */
    readonly random: RandomSource;
  };
  /** Called after each episode. */
  readonly onEpisode?: (episode: number, isSuccess: boolean) => void;
}

/**
 * Let the demonstrator practise and record it.
 * @returns Examples and the share of episodes that the demonstrator itself solved.
 */
export function recordDemonstrations(
  robot: SimulatedAloha,
  options: RecordOptions,
): { examples: Demonstration[]; successRate: number } {
  const { episodes, firstSeed, horizon, stride, scatter } = options;
  const demonstrator = createDemonstrator(robot, options.demonstrator);
  const examples: Demonstration[] = [];
  let successes = 0;
  for (let episode = 0; episode < episodes; episode++) {
    robot.resetSync(firstSeed + episode);
    if (scatter && scatter.random() < scatter.share) placeAroundBall(robot, scatter.random);
    demonstrator.reset();
    const observations = new Map<number, Observation>();
    const actions: Float32Array[] = [];
    let isSuccess = false;
    for (let hasEnded = false; !hasEnded;) {
      if (actions.length % stride === 0) observations.set(actions.length, robot.observeSync());
      const action = Float32Array.from(demonstrator.act());
      actions.push(action);
      const outcome = robot.stepSync(action);
      isSuccess = outcome.isSuccess;
      hasEnded = outcome.isTerminal || outcome.isTruncated;
    }
    for (const [start, observation] of observations) {
      const chunk = new Float32Array(horizon * ALOHA_DIM);
      for (let h = 0; h < horizon; h++) {
        chunk.set(actions[Math.min(start + h, actions.length - 1)], h * ALOHA_DIM);
      }
      examples.push({ observation, actions: chunk });
    }
    if (isSuccess) successes++;
    options.onEpisode?.(episode, isSuccess);
  }
  return { examples, successRate: successes / episodes };
}

/** Put the left gripper anywhere around the ball, open and at rest. */
function placeAroundBall(robot: SimulatedAloha, random: RandomSource): void {
  const { task, data: { views } } = robot;
  if (!(task instanceof ReachTask)) return;
  const [x, y, z] = task.target.map((at) => at + uniform(random, -SCATTER_M, SCATTER_M));
  const position = [x, y, Math.max(MIN_HEIGHT_M, z)] as const;
  const { joints } = solveIk("left", { position }, RESET_POSE_RAD);
  views.qpos.set(joints);
  views.ctrl.set(joints);
  robot.data.forward();
  task.begin();
}

/**
 * Scripted demonstrators: what they are, how imperfect they may be, and which fits a robot.
 *
 * @module
 */

import type { SimulatedAloha } from "./aloha_sim.ts";
import type { RandomSource } from "../../common/random.ts";
import { ReachDemonstrator } from "./reach_demonstrator.ts";
import { ReachTask } from "./reach_task.ts";
import { TransferCubeDemonstrator } from "./transfer_cube_demonstrator.ts";
import { TransferCubeTask } from "./transfer_cube_task.ts";

/** Acts on a simulated robot by script, seeing its full state. */
export interface Demonstrator {
  /** Plan for the episode that the robot has just been reset to. */
  reset(): void;
  /**
   * Choose the next action from the robot's current state.
   *
   * @returns 14 absolute targets: rad, grippers 0–1. Overwritten by the next call.
   */
  act(): Float32Array;
}

/** How good or bad a demonstrator is. */
export interface DemonstratorOptions {
  /** Pace relative to the normal one, 0.1–3. Default 1. */
  readonly speed?: number;
  /** Standard deviation of the noise on each commanded joint (reach), in rad. Default 0. */
  readonly jointNoiseRad?: number;
  /**
   * Correlation of that noise from one control step to the next (reach): 0 is fresh noise at every step,
   * 0.95 drifts slowly. In [0, 1). Default 0.9.
   */
  readonly noiseCorrelation?: number;
  /** Standard deviation, along each axis, of where the demonstrator aims (reach), in metres. Default 0. */
  readonly aimNoiseM?: number;
  /**
   * How far above the ball the demonstrator aims (reach), in metres: a constant error, such as that
   * of a badly calibrated camera. Default 0.
   */
  readonly aimBiasM?: number;
  /**
   * How far above its right place the right gripper grasps the cube (transfer_cube), in metres: a
   * constant error, such as that of a badly measured table. Default 0.
   */
  readonly graspBiasM?: number;
  /** Decides the noise. Needed as soon as a noise is above 0. */
  readonly random?: RandomSource;
}

/**
 * The demonstrator of a robot's task.
 *
 * @param robot The robot; reset it, then the demonstrator, then alternate `act` and `step`.
 * @param options How good or bad it is.
 * @returns The demonstrator.
 * @throws {RangeError} An option is out of range.
 */
export function createDemonstrator(
  robot: SimulatedAloha,
  options: DemonstratorOptions = {},
): Demonstrator {
  if (robot.task instanceof ReachTask) return new ReachDemonstrator(robot, robot.task, options);
  if (robot.task instanceof TransferCubeTask) {
    return new TransferCubeDemonstrator(robot, robot.task, options);
  }
  throw new RangeError(`Cannot demonstrate "${robot.task.name}": there is no script for it`);
}

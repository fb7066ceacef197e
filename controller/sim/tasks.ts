/**
 * What a simulated task is, and which there are.
 *
 * @module
 */

import type { PhysicsData, PhysicsModel } from "./mujoco.ts";
import type { RandomSource } from "../../common/random.ts";
import { type ReachOptions, ReachTask } from "./reach_task.ts";
import type { TaskName } from "./task_names.ts";
import { type TransferCubeOptions, TransferCubeTask } from "./transfer_cube_task.ts";

/** What a task says about one control step. */
export interface TaskScore {
  /** Reward of this step alone. */
  readonly reward: number;
  /** The success condition holds now; the episode ends. */
  readonly isSuccess: boolean;
}

/** A task on one state of its scene. */
export interface Task {
  /** Which task. */
  readonly name: TaskName;
  /** The task in words, for the policy. */
  readonly prompt: string;
  /**
   * Place the task's objects at random. Called after the arms were put at their start.
   *
   * @param random Decides where.
   */
  place(random: RandomSource): void;
  /** Take what the first step's reward compares with. Called with poses up to date. */
  begin(): void;
  /** Score the control step that just ended. Called with poses up to date. */
  score(): TaskScore;
}

/** Settings of the tasks that have any. */
export interface TaskOptions {
  /** Settings of `reach`. */
  readonly reach?: ReachOptions;
  /** Settings of `transfer_cube`. */
  readonly transferCube?: TransferCubeOptions;
}

/**
 * Set up a task on a state of its scene.
 *
 * @param name Which task; the scene must be that task's.
 * @param model The scene.
 * @param data The state.
 * @param options Settings.
 * @returns The task.
 */
export function createTask(
  name: TaskName,
  model: PhysicsModel,
  data: PhysicsData,
  options: TaskOptions = {},
): Task {
  switch (name) {
    case "reach":
      return new ReachTask(model, data, options.reach);
    case "transfer_cube":
      return new TransferCubeTask(model, data, options.transferCube);
    default:
      throw new RangeError(`Unknown task "${name satisfies never}"`);
  }
}

/**
 * What a simulated task is, and which there are.
 *
 * @module
 */

import type { PhysicsData, PhysicsModel } from "./mujoco.ts";
import type { RandomSource } from "./random.ts";
import { type ReachOptions, ReachTask } from "./reach_task.ts";
import { TASK_NAMES, type TaskName } from "./scene.ts";
import { TransferCubeTask } from "./transfer_cube_task.ts";

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
}

/** Prompts of the tasks. */
export const TASK_PROMPTS: Readonly<Record<TaskName, string>> = {
  reach: "reach the red ball",
  transfer_cube: "transfer the cube to the left arm",
};

/** Control steps after which an episode of a task is cut off, unless told otherwise. */
export const DEFAULT_EPISODE_STEPS: Readonly<Record<TaskName, number>> = {
  reach: 100,
  // As in huggingface/gym-aloha.
  transfer_cube: 400,
};

/**
 * Check a task's name from outside.
 *
 * @param name What somebody typed.
 * @returns The name.
 * @throws {RangeError} There is no such task.
 */
export function parseTaskName(name: string): TaskName {
  const found = TASK_NAMES.find((known) => known === name);
  if (found === undefined) {
    throw new RangeError(`Unknown task "${name}": choose one of ${TASK_NAMES.join(", ")}`);
  }
  return found;
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
      return new TransferCubeTask(model, data);
    default:
      throw new RangeError(`Unknown task "${name satisfies never}"`);
  }
}

/**
 * Which tasks the simulation offers, what they are called in words and how long they may take.
 *
 * @module
 */

/** The tasks that the simulation offers. */
export const TASK_NAMES = ["reach", "transfer_cube"] as const;

/** One of {@link TASK_NAMES}. */
export type TaskName = (typeof TASK_NAMES)[number];

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

/**
 * Finds the checkpoint that a resumed run continues.
 *
 * @module
 */

import { join } from "node:path";
import { checkpointPath, inspectCheckpoint } from "./checkpoint.ts";
import { CheckpointError } from "./errors.ts";

const STEP_FOLDER = /^step_(\d{1,15})$/;

/** What {@link latestCheckpoint} found. */
export interface LatestCheckpoint {
  /** Folder of the newest complete checkpoint; undefined when there is none. */
  readonly path: string | undefined;
  /** Its step; −1 when there is none. */
  readonly step: number;
  /** Why each newer folder was passed over, one sentence each, newest first. */
  readonly passedOver: readonly string[];
}

async function stepsOf(folder: string): Promise<number[]> {
  const steps: number[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) {
      const match = STEP_FOLDER.exec(entry.name);
      if (match !== null) steps.push(Number(match[1]));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new CheckpointError(
        `Cannot list checkpoints in ${folder}: ${(error as Error).message}.`,
        { cause: error },
      );
    }
  }
  return steps.sort((a, b) => b - a);
}

/**
 * Find the complete checkpoint of an experiment with the highest step.
 *
 * @param checkpointDir Folder of all experiments.
 * @param expName Name of the experiment.
 * @returns Its folder, and what is wrong with any newer one.
 * @throws {CheckpointError} When the experiment's folder cannot be listed.
 */
export async function latestCheckpoint(
  checkpointDir: string,
  expName: string,
): Promise<LatestCheckpoint> {
  const passedOver: string[] = [];
  for (const step of await stepsOf(join(checkpointDir, expName))) {
    const path = checkpointPath(checkpointDir, expName, step);
    try {
      await inspectCheckpoint(path);
      return { path, step, passedOver };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      passedOver.push(error.message);
    }
  }
  return { path: undefined, step: -1, passedOver };
}

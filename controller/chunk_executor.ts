/**
 * Executes one action chunk, step by step, and sums its reward.
 * @module
 */

import { ALOHA_DIM } from "../common/robot/aloha.ts";
import type { Robot } from "../common/types.ts";

/** What executing a chunk came to. */
export interface ChunkOutcome {
  /** Sum of the rewards of the executed steps. */
  readonly reward: number;
  /** Control steps executed, at most H. */
  readonly stepsExecuted: number;
  /** The episode ended by itself inside the chunk. */
  readonly isTerminal: boolean;
  /** The time limit ended the episode inside the chunk. */
  readonly isTruncated: boolean;
  /** The success condition has been met. */
  readonly isSuccess: boolean;
}

/**
 * Execute a whole chunk, or as much of it as the episode lasts.
 * @param actions `[H, 14]` absolute targets.
 */
export async function executeChunk(robot: Robot, actions: Float32Array): Promise<ChunkOutcome> {
  const horizon = actions.length / ALOHA_DIM;
  let reward = 0;
  for (let step = 0; step < horizon; step++) {
    const outcome = await robot.step(actions.subarray(step * ALOHA_DIM, (step + 1) * ALOHA_DIM));
    reward += outcome.reward;
    const { isTerminal, isTruncated, isSuccess } = outcome;
    const isLast = step === horizon - 1;
    if (isLast || isTerminal || isTruncated) {
      return { reward, stepsExecuted: step + 1, isTerminal, isTruncated, isSuccess };
    }
  }
  throw new RangeError("Cannot execute a chunk without a single step");
}

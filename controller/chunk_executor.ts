/**
 * Executes one action chunk, step by step, and keeps what each step earned.
 * @module
 */

import { ALOHA_DIM } from "../common/robot/aloha.ts";
import type { ChunkTransition, Robot, StepOutcome } from "../common/types.ts";

/** What executing a chunk came to. */
export type ChunkOutcome = Pick<
  ChunkTransition,
  | "reward"
  | "stepRewards"
  | "humanRewards"
  | "stepsExecuted"
  | "isTerminal"
  | "isTruncated"
  | "isCutShort"
  | "isSuccess"
>;

/** How a chunk is executed. */
export interface ChunkExecution {
  /** Absolute targets `[14]` of a step, counted from 0; null ends the chunk before it. */
  readonly next: (step: number) => Float32Array | null;
  /** Adds what people say to what a step came to; nothing if absent. */
  readonly judge?: (outcome: StepOutcome) => StepOutcome;
}

/**
 * Execute a chunk until its targets or the episode end.
 * @returns What it came to; null if there was no target at all: then nothing moved.
 */
export async function executeSteps(
  robot: Robot,
  { next, judge = (outcome) => outcome }: ChunkExecution,
): Promise<ChunkOutcome | null> {
  const earned = new RewardSums();
  let last: StepOutcome | undefined;
  for (let step = 0; !last?.isTerminal && !last?.isTruncated; step++) {
    const action = next(step);
    if (action === null) break;
    last = judge(await robot.step(action));
    earned.add(last);
  }
  if (last === undefined) return null;
  const { isTerminal, isTruncated, isSuccess } = last;
  // What has ended by itself needs no time limit.
  return {
    ...earned.result(),
    isTerminal,
    isTruncated: isTruncated && !isTerminal,
    isCutShort: false,
    isSuccess,
  };
}

/**
 * Execute a whole chunk, or as much of it as the episode lasts.
 * @param actions `[h, 14]` absolute targets.
 * @throws {RangeError} There is no step in it.
 */
export async function executeChunk(robot: Robot, actions: Float32Array): Promise<ChunkOutcome> {
  const outcome = await executeSteps(robot, { next: rowsOf(actions) });
  if (outcome === null) throw new RangeError("Cannot execute a chunk without a single step");
  return outcome;
}

/** The rows of `[h, 14]` targets, one a step, then null. */
export function rowsOf(actions: Float32Array): (step: number) => Float32Array | null {
  return (step) => {
    const from = step * ALOHA_DIM;
    return from < actions.length ? actions.subarray(from, from + ALOHA_DIM) : null;
  };
}

/** Sums of a chunk's rewards, and what each step earned. */
export class RewardSums {
  readonly #steps: number[] = [];
  readonly #human: number[] = [];
  #reward = 0;

  /** Steps so far. */
  get steps(): number {
    return this.#steps.length;
  }

  /** Note an executed step. */
  add({ reward, humanReward = 0 }: StepOutcome): void {
    this.#reward += reward;
    this.#steps.push(reward);
    this.#human.push(humanReward);
  }

  /** Note what is earned after the last step, while the robot waits: it goes to that step. */
  addToLast({ reward, humanReward = 0 }: StepOutcome): void {
    this.#reward += reward;
    this.#steps[this.#steps.length - 1] += reward;
    this.#human[this.#human.length - 1] += humanReward;
  }

  /** The sums, as a transition has them. */
  result(): Pick<ChunkOutcome, "reward" | "stepRewards" | "humanRewards" | "stepsExecuted"> {
    const wasGiven = this.#human.some((one) => one !== 0);
    return {
      reward: this.#reward,
      stepRewards: Float32Array.from(this.#steps),
      humanRewards: Float32Array.from(wasGiven ? this.#human : []),
      stepsExecuted: this.steps,
    };
  }
}

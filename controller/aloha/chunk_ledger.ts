/**
 * Keeps the books of one episode on a robot that moves in real time: which chunk every executed step
 * belongs to, what it earned, and when a chunk's transition is complete.
 *
 * A chunk is open until the first step of its successor has been executed, because until then whatever
 * happens happened on its account: steps in which the arms only held their pose and waited for a late
 * successor, or for a person, earn for its last step, too. A chunk none of whose steps was executed leaves
 * no transition.
 *
 * @module
 */

import type { ChunkTransition, StepOutcome } from "../../common/types.ts";
import { RewardSums } from "../chunk_executor.ts";

/** A chunk that may be executed. */
export interface PlannedChunk extends
  Pick<
    ChunkTransition,
    | "driver"
    | "policyVersion"
    | "observation"
    | "logProb"
    | "tokenLogProbs"
    | "behaviour"
    | "value"
  > {
  /** FAST ids `[S]`; of a person's chunk, those of as many steps as were executed. */
  readonly tokens: Int32Array | ((stepsExecuted: number) => Int32Array);
}

interface OpenChunk {
  readonly chunk: PlannedChunk;
  readonly number: number;
  readonly earned: RewardSums;
}

/** How an episode has ended by itself. */
export type OwnEnd = Pick<StepOutcome, "isTerminal" | "isTruncated">;

/** One episode's books. */
export class ChunkLedger {
  /** The episode's id. */
  readonly episodeId: string;
  readonly #open: OpenChunk[] = [];
  readonly #done: ChunkTransition[] = [];
  #nextNumber = 0;
  #chunkIndex = 0;
  #isSuccess = false;
  #end: OwnEnd | null = null;

  /** Open the books of an episode. */
  constructor(episodeId: string) {
    this.episodeId = episodeId;
  }

  /** How the episode has ended; null while it goes on. */
  get end(): OwnEnd | null {
    return this.#end;
  }

  /** Whether a step of any chunk has been executed. */
  get hasBegun(): boolean {
    return this.#chunkIndex > 0 || this.#open.some(({ earned }) => earned.steps > 0);
  }

  /** Whether the task's success condition has been met. */
  get isSuccess(): boolean {
    return this.#isSuccess;
  }

  /**
   * Announce a chunk.
   *
   * @returns Its number, for {@link onStep}.
   */
  plan(chunk: PlannedChunk): number {
    this.#open.push({ chunk, number: this.#nextNumber, earned: new RewardSums() });
    return this.#nextNumber++;
  }

  /**
   * Book one control step. Steps after the episode's end are not booked.
   *
   * @param number The chunk that it executed; null when the arms only held their pose.
   * @param outcome What the world said.
   */
  onStep(number: number | null, outcome: StepOutcome): void {
    if (this.#end !== null || this.#open.length === 0) return;
    if (number !== null) {
      while (this.#open[0].number < number && this.#open.length > 1) this.#close({});
    }
    const [{ earned, number: current }] = this.#open;
    if (current === number) earned.add(outcome);
    // Before the first step of the first chunk there is nobody to give a reward to.
    else if (earned.steps > 0) earned.addToLast(outcome);
    else return;
    const { isTerminal, isTruncated, isSuccess } = outcome;
    this.#isSuccess = isSuccess;
    if (isTerminal || isTruncated) {
      this.#end = { isTerminal, isTruncated: isTruncated && !isTerminal };
    }
  }

  /**
   * Close the books: the last executed chunk gets its end. An episode that was interrupted, by a fault
   * or a person, was cut short: what it would have earned is the critic's to say.
   *
   * @param finalValue The critic's value of the last observation; undefined when nobody could look. The
   *   value of the newest chunk's observation stands in then.
   */
  close(finalValue: number | undefined): void {
    const { isTerminal, isTruncated } = this.#end ?? { isTerminal: false, isTruncated: false };
    const standIn = finalValue ?? this.#open.at(-1)?.chunk.value ?? 0;
    this.#close({
      isTerminal,
      isTruncated,
      isCutShort: !isTerminal && !isTruncated,
      finalValue: isTerminal ? 0 : standIn,
    });
    this.#open.length = 0;
  }

  /** Transitions that have become complete since the last call, in order. */
  takeDone(): ChunkTransition[] {
    return this.#done.splice(0);
  }

  #close(
    end: Partial<
      Pick<ChunkTransition, "isTerminal" | "isTruncated" | "isCutShort" | "finalValue">
    >,
  ): void {
    const open = this.#open.shift();
    if (open === undefined || open.earned.steps === 0) return;
    const { chunk, earned } = open;
    const { tokens } = chunk;
    this.#done.push({
      ...chunk,
      tokens: typeof tokens === "function" ? tokens(earned.steps) : tokens,
      ...earned.result(),
      chunkId: `${this.episodeId}.${this.#chunkIndex}`,
      episodeId: this.episodeId,
      chunkIndex: this.#chunkIndex++,
      isSuccess: this.#isSuccess,
      isTerminal: false,
      isTruncated: false,
      isCutShort: false,
      finalValue: 0,
      ...end,
    });
  }
}

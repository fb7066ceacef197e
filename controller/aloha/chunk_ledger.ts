/**
 * Keeps the books of one episode on a robot that moves in real time: which chunk every executed step
 * belongs to, what it earned, and when a chunk's transition is complete.
 *
 * A chunk is open until the first step of its successor has been executed, because until then whatever
 * happens happened on its account: steps in which the arms only held their pose and waited for a late
 * successor earn for it, too. A chunk none of whose steps was executed leaves no transition.
 *
 * @module
 */

import type { Behaviour, ChunkTransition, Observation, StepOutcome } from "../../common/types.ts";

/** A chunk that may be executed. */
export interface PlannedChunk {
  /** Version of the weights that sampled it. */
  readonly policyVersion: number;
  /** What the policy saw. */
  readonly observation: Observation;
  /** FAST ids `[S]`. */
  readonly tokens: Int32Array;
  /** Log-probability of the tokens, in nats. */
  readonly logProb: number;
  /** Each token's `[S]`, in nats. */
  readonly tokenLogProbs: Float32Array;
  /** What computed the log-probabilities. */
  readonly behaviour: Behaviour;
  /** The critic's value of the observation. */
  readonly value: number;
}

interface OpenChunk extends PlannedChunk {
  readonly number: number;
  reward: number;
  stepsExecuted: number;
}

/** One episode's books. */
export class ChunkLedger {
  /** The episode's id. */
  readonly episodeId: string;
  readonly #open: OpenChunk[] = [];
  readonly #done: ChunkTransition[] = [];
  #nextNumber = 0;
  #chunkIndex = 0;
  #isSuccess = false;
  #end: Pick<StepOutcome, "isTerminal" | "isTruncated"> | null = null;

  /** Open the books of an episode. */
  constructor(episodeId: string) {
    this.episodeId = episodeId;
  }

  /** How the episode has ended; null while it goes on. */
  get end(): Pick<StepOutcome, "isTerminal" | "isTruncated"> | null {
    return this.#end;
  }

  /** Whether a step of any chunk has been executed. */
  get hasBegun(): boolean {
    return this.#chunkIndex > 0 || this.#open.some(({ stepsExecuted }) => stepsExecuted > 0);
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
    this.#open.push({ ...chunk, number: this.#nextNumber, reward: 0, stepsExecuted: 0 });
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
      if (this.#open[0].number === number) this.#open[0].stepsExecuted++;
    }
    const [current] = this.#open;
    // Before the first step of the first chunk there is nobody to give a reward to.
    if (current.stepsExecuted === 0) return;
    const { reward, isTerminal, isTruncated, isSuccess } = outcome;
    current.reward += reward;
    this.#isSuccess = isSuccess;
    if (isTerminal || isTruncated) this.#end = { isTerminal, isTruncated };
  }

  /**
   * Close the books: the last executed chunk gets its end. An episode that was interrupted, by a fault
   * or a person, counts as cut off: what it would have earned is the critic's to say.
   *
   * @param finalValue The critic's value of the last observation; undefined when nobody could look. The
   *   value of the newest chunk's observation stands in then.
   */
  close(finalValue: number | undefined): void {
    const { isTerminal, isTruncated } = this.#end ?? { isTerminal: false, isTruncated: true };
    const newest = this.#open.at(-1);
    const standIn = finalValue ?? newest?.value ?? 0;
    this.#close({ isTerminal, isTruncated, finalValue: isTerminal ? 0 : standIn });
    this.#open.length = 0;
  }

  /** Transitions that have become complete since the last call, in order. */
  takeDone(): ChunkTransition[] {
    return this.#done.splice(0);
  }

  #close(
    end: Partial<Pick<ChunkTransition, "isTerminal" | "isTruncated" | "finalValue">>,
  ): void {
    const chunk = this.#open.shift();
    if (chunk === undefined || chunk.stepsExecuted === 0) return;
    const { number: _, ...facts } = chunk;
    this.#done.push({
      ...facts,
      chunkId: `${this.episodeId}.${this.#chunkIndex}`,
      episodeId: this.episodeId,
      chunkIndex: this.#chunkIndex++,
      isSuccess: this.#isSuccess,
      isTerminal: false,
      isTruncated: false,
      finalValue: 0,
      ...end,
    });
  }
}

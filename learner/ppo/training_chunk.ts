/**
 * A chunk with what estimating advantages needs to know about how it went and ended.
 *
 * | end of a chunk                             | fields                  | value of what follows  |
 * | ------------------------------------------ | ----------------------- | ---------------------- |
 * | success or failure                         | `isTerminal`            | 0                      |
 * | time limit                                 | `isTruncated`           | `finalValue`           |
 * | emergency stop or fault                    | `isCutShort`            | `finalValue`           |
 * | none: the episode goes on                  |                         | the next chunk's value |
 * | none: a person takes over for the next one | next one has `"person"` | the next chunk's value |
 *
 * In all of them the chunk may have executed fewer steps than it has. A chunk of which no step was
 * executed is none: there is no experience in it.
 *
 * @module
 */

import type { ChunkTransition } from "../../common/types.ts";

/** Who moved the robot during a chunk. */
export type Driver = "policy" | "person";

/** What estimating advantages asks of a transition beyond what every one of them has. */
export interface ChunkOutcome {
  /** Reward of each executed step `[h]`; known only as a sum if absent. */
  readonly stepRewards?: Float32Array;
  /**
   * An emergency stop or a fault ended the episode inside this chunk, or right after it: neither the
   * task nor its time limit did. `finalValue` is the value of the observation after the last executed
   * step. False if absent.
   */
  readonly isCutShort?: boolean;
  /**
   * Who drove; the policy if absent. A person's chunk has the policy's `value` of its observation, but
   * its log-probabilities mean nothing: the policy did not choose it.
   */
  readonly driver?: Driver;
}

/** A transition with its outcome. */
export type TrainingChunk = ChunkTransition & ChunkOutcome;

/** Whether the policy chose the chunk: only then may it enter the policy's loss. */
export function isPolicyDriven(chunk: Pick<ChunkOutcome, "driver">): boolean {
  return chunk.driver !== "person";
}

/** Whether the episode ends with this chunk, for whatever reason. */
export function endsEpisode(
  chunk: Pick<ChunkTransition, "isTerminal" | "isTruncated"> & Pick<ChunkOutcome, "isCutShort">,
): boolean {
  return chunk.isTerminal || chunk.isTruncated || chunk.isCutShort === true;
}

/**
 * The critic's value of what came after a chunk.
 * @param chunk The chunk.
 * @param following The next chunk of its episode, if it is at hand.
 * @param nextValue Value of the observation after the chunk, if the next one is not at hand.
 * @throws RangeError if the value is needed and missing, or not finite.
 */
export function valueAfter(
  chunk: TrainingChunk,
  following: TrainingChunk | undefined,
  nextValue: number | undefined,
): number {
  if (chunk.isTerminal) return 0;
  const value = endsEpisode(chunk) ? chunk.finalValue : following?.value ?? nextValue;
  if (value === undefined) {
    throw new RangeError(
      `Cannot estimate advantages: episode ${chunk.episodeId} goes on after chunk ` +
        `${chunk.chunkIndex}, but no value of what follows was given`,
    );
  }
  if (!Number.isFinite(value)) {
    throw new RangeError(
      `Cannot estimate advantages: the value after chunk ${chunk.chunkIndex} of episode ` +
        `${chunk.episodeId} is ${value}, expected a finite number`,
    );
  }
  return value;
}

/**
 * What came after a chunk, by how it ended.
 *
 * | end of a chunk                             | fields                  | value of what follows  |
 * | ------------------------------------------ | ----------------------- | ---------------------- |
 * | success or failure                         | `isTerminal`            | 0                      |
 * | time limit                                 | `isTruncated`           | `finalValue`           |
 * | emergency stop or fault                    | `isCutShort`            | `finalValue`           |
 * | none: the episode goes on                  |                         | the next chunk's value |
 * | none: a person takes over for the next one | next one has `"person"` | the next chunk's value |
 *
 * In all of them the chunk may have executed fewer steps than it has.
 *
 * @module
 */

import { endsEpisode } from "../../common/chunk_end.ts";
import type { ChunkTransition } from "../../common/types.ts";

/**
 * Whether the policy chose the chunk: only then may it enter the policy's loss. A person's chunk has
 * the critic's value of its observation, but no log-probability.
 */
export function isPolicyDriven({ driver }: Pick<ChunkTransition, "driver">): boolean {
  return driver === "policy";
}

/**
 * The critic's value of what came after a chunk.
 * @param chunk The chunk.
 * @param following The next chunk of its episode, if it is at hand.
 * @param nextValue Value of the observation after the chunk, if the next one is not at hand.
 * @throws RangeError if the value is needed and missing, or not finite.
 */
export function valueAfter(
  chunk: ChunkTransition,
  following: ChunkTransition | undefined,
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

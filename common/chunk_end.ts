/**
 * How a chunk ended, in one word, from the flags that a transition carries.
 *
 * @module
 */

import type { ChunkTransition } from "./types.ts";

/**
 * How a chunk may end: its episode goes on, has succeeded, has failed, ran out of time, or was cut
 * short by a stop or a fault. A takeover ends no episode: it shows as the next chunk's driver.
 */
export const CHUNK_ENDS = ["goes_on", "success", "failure", "time_limit", "stopped"] as const;

/** One of {@link CHUNK_ENDS}. */
export type ChunkEnd = (typeof CHUNK_ENDS)[number];

/** What tells the end of a chunk. */
export type EndFlags = Pick<ChunkTransition, "isTerminal" | "isTruncated" | "isCutShort">;

/**
 * How a chunk ended.
 * @param chunk Its flags.
 */
export function endOf(chunk: EndFlags & Pick<ChunkTransition, "isSuccess">): ChunkEnd {
  if (chunk.isTerminal) return chunk.isSuccess ? "success" : "failure";
  if (chunk.isTruncated) return "time_limit";
  return chunk.isCutShort ? "stopped" : "goes_on";
}

/**
 * Whether a chunk was its episode's last one, for whatever reason.
 * @param chunk Its flags.
 */
export function endsEpisode({ isTerminal, isTruncated, isCutShort }: EndFlags): boolean {
  return isTerminal || isTruncated || isCutShort;
}

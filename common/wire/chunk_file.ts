/**
 * Chunks in a file: frames of `transitions` messages one behind another, each after its length. What
 * waits in a learner is stored so, and demonstrations are.
 *
 * @module
 */

import type { ChunkTransition } from "../types.ts";
import { decodeFrame, encodeFrame, transitionBytes } from "./frames.ts";
import { DEFAULT_MAX_FRAME_BYTES } from "./protocol.ts";
import { MAX_TRANSITIONS_PER_FRAME } from "./validate.ts";

/** Bytes of a length: an unsigned integer, least significant byte first. */
const LENGTH_BYTES = 4;
/** Frames are cut at this size; a single chunk may be larger. */
const FRAME_BYTES = 8 * 2 ** 20;

/**
 * Encode chunks.
 * @param chunks Any number of them.
 * @returns The file's bytes.
 * @throws {WireError} A chunk is larger than a frame may be.
 */
export function encodeChunks(chunks: readonly ChunkTransition[]): Uint8Array<ArrayBuffer> {
  const frames: Uint8Array[] = [];
  for (let from = 0; from < chunks.length;) {
    let bytes = transitionBytes(chunks[from]);
    let to = from + 1;
    while (to < chunks.length && to - from < MAX_TRANSITIONS_PER_FRAME) {
      bytes += transitionBytes(chunks[to]);
      if (bytes > FRAME_BYTES) break;
      to++;
    }
    frames.push(encodeFrame({ type: "transitions", transitions: chunks.slice(from, to) }));
    from = to;
  }
  const out = new Uint8Array(frames.reduce((sum, { length }) => sum + LENGTH_BYTES + length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame.length, true);
    out.set(frame, at + LENGTH_BYTES);
    at += LENGTH_BYTES + frame.length;
  }
  return out;
}

/**
 * Decode what {@link encodeChunks} made.
 * @param bytes The file.
 * @returns The chunks in order, each field checked.
 * @throws {RangeError} The file is cut short, or has something else in it.
 */
export function decodeChunks(bytes: Uint8Array): ChunkTransition[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks: ChunkTransition[] = [];
  for (let at = 0; at < bytes.length;) {
    const left = bytes.length - at - LENGTH_BYTES;
    const length = left < 0 ? -1 : view.getUint32(at, true);
    if (length < 0 || length > left || length > DEFAULT_MAX_FRAME_BYTES) {
      throw new RangeError(
        `Cannot read chunks: the frame at byte ${at} has ${length} bytes, but ${left} are left and ` +
          `${DEFAULT_MAX_FRAME_BYTES} is the most; the file is cut short or no file of chunks`,
      );
    }
    at += LENGTH_BYTES;
    // A copy: arrays within a frame are aligned to its beginning.
    const message = decodeFrame(bytes.slice(at, at + length));
    if (message.type !== "transitions" || (message.refused?.length ?? 0) > 0) {
      const problem = message.type === "transitions"
        ? message.refused![0].sentence
        : `it is a ${message.type} message`;
      throw new RangeError(
        `Cannot read chunks: the frame at byte ${at} is not of them: ${problem}`,
      );
    }
    for (const chunk of message.transitions) chunks.push(chunk);
    at += length;
  }
  return chunks;
}

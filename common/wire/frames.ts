/**
 * Messages to bytes and back. A frame is one MessagePack array of two: FRAME_VERSION and the
 * message, so its first two bytes tell a peer of another version before anything is decoded.
 *
 * @module
 */
import type { ChunkTransition } from "../types.ts";
import { checkStructure } from "./frame_limits.ts";
import type { Message } from "./messages.ts";
import { DEFAULT_MAX_FRAME_BYTES, FRAME_VERSION } from "./protocol.ts";
import { pack, unpack } from "./typed_arrays.ts";
import { parseMessage } from "./validate.ts";
import { WireError } from "./wire_error.ts";

/** MessagePack's head byte of an array of two. */
const ARRAY_OF_TWO = 0x92;
/** Room for names, numbers and headers of one item besides its typed arrays, in bytes. */
const ITEM_OVERHEAD_BYTES = 2048;

/** How large a frame may be. */
export interface FrameOptions {
  /** Cap in bytes; default 64 MiB. */
  readonly maxFrameBytes?: number;
}

/**
 * Encode a message.
 * @param message What to say. Typed arrays are written in one go.
 * @param options The cap.
 * @returns The frame, in a buffer of its own.
 * @throws {WireError} `oversize`, if the frame would be larger than the cap; checked on the typed
 *   arrays before anything is allocated.
 * @example
 * ```ts
 * socket.send(encodeFrame({ type: "busy" }));
 * ```
 */
export function encodeFrame(
  message: Message,
  options: FrameOptions = {},
): Uint8Array<ArrayBuffer> {
  const cap = options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES;
  const { arrayBytes, items } = measure(message);
  if (arrayBytes > cap) throw tooLarge(`Cannot send ${message.type} message`, arrayBytes, cap);
  const body = message.type === "transitions" ? { ...message, refused: undefined } : message;
  const frame = pack([FRAME_VERSION, body], arrayBytes + items * ITEM_OVERHEAD_BYTES);
  if (frame.length > cap) throw tooLarge(`Cannot send ${message.type} message`, frame.length, cap);
  return frame;
}

/**
 * Decode a frame from a peer.
 * @param frame The bytes. Typed arrays of the result are views on them, so do not write to them
 *   afterwards; only arrays that are not aligned to their elements are copied.
 * @param options The cap.
 * @returns A message whose every field has been checked.
 * @throws {WireError} If the frame is larger than the cap, of another version, cut short or not a
 *   valid message. Nothing else is ever thrown.
 */
export function decodeFrame(frame: Uint8Array, options: FrameOptions = {}): Message {
  const cap = options.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES;
  if (frame.length > cap) throw tooLarge("Cannot read frame", frame.length, cap);
  if (frame.length < 2 || frame[0] !== ARRAY_OF_TWO || frame[1] > 0x7f) {
    throw new WireError("malformed", "Cannot read frame: it does not start as a frame does");
  }
  if (frame[1] !== FRAME_VERSION) {
    throw new WireError(
      "version",
      `Cannot read frame: it has version ${frame[1]}, this program reads version ` +
        `${FRAME_VERSION}; run the same release on both sides`,
    );
  }
  checkStructure(frame);
  let decoded: unknown;
  try {
    decoded = unpack(frame);
  } catch (error) {
    if (error instanceof WireError) throw error;
    throw new WireError("malformed", "Cannot read frame: it is not valid MessagePack", {
      cause: error,
    });
  }
  return parseMessage(Array.isArray(decoded) ? decoded[1] : undefined);
}

/**
 * Upper bound of what one transition adds to a frame.
 * @param transition The transition.
 * @returns Bytes.
 */
export function transitionBytes(transition: ChunkTransition): number {
  const { prompt } = transition.observation;
  return ITEM_OVERHEAD_BYTES + arrayBytesOf(transition) +
    3 * (prompt.length + transition.chunkId.length + transition.episodeId.length);
}

function measure(message: Message): { arrayBytes: number; items: number } {
  if (message.type === "weights") {
    return {
      arrayBytes: message.slices.reduce((sum, part) => sum + part.data.byteLength, 0),
      items: message.slices.length + 1,
    };
  }
  if (message.type === "transitions") {
    const bytes = message.transitions.reduce((sum, one) => sum + arrayBytesOf(one), 0);
    return { arrayBytes: bytes, items: message.transitions.length + 1 };
  }
  return { arrayBytes: 0, items: 1 };
}

function arrayBytesOf(transition: ChunkTransition): number {
  const { observation, tokens, tokenLogProbs, stepRewards, humanRewards, imageTokens } = transition;
  const pictures = Object.values(observation.images).map(({ data }) => data);
  return [
    observation.state,
    tokens,
    tokenLogProbs,
    stepRewards,
    humanRewards,
    ...pictures,
    ...imageTokens ? [imageTokens] : [],
  ].reduce((bytes, { byteLength }) => bytes + byteLength, 0);
}

function tooLarge(what: string, bytes: number, cap: number): WireError {
  return new WireError("oversize", `${what}: it has ${bytes} bytes, the limit is ${cap}`);
}

/**
 * Constants that both ends of the wire agree on.
 *
 * @module
 */

/** Layout of a frame: how bytes become a message. A peer with another value cannot be read at all. */
export const FRAME_VERSION = 1;

/** Meaning of the messages. Compared in the hello, so that the refusal can be read by the peer. */
export const PROTOCOL_VERSION = 6;

/** Largest frame accepted unless an option says otherwise, in bytes. */
export const DEFAULT_MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** Smallest cap that an option may set, in bytes: a frame's fixed parts must fit well inside. */
export const MIN_MAX_FRAME_BYTES = 64 * 1024;

/**
 * Close codes of the controllers' WebSocket, in the range that RFC 6455 section 7.4.2 leaves to
 * applications. The sentence travels in a `refuse`, `error` or `shutdown` message before the close.
 */
export const CLOSE_CODES = {
  /** The learner and the controller do not belong together: retrying is pointless. */
  refused: 4000,
  /** A frame could not be read. */
  malformed: 4001,
  /** No hello came in time, or another message came first. */
  noHello: 4002,
  /** The learner has as many controllers as it may have. */
  full: 4003,
  /** The same controller has opened a newer connection. */
  replaced: 4004,
  /** The learner failed to take what was sent; it was not acknowledged. */
  learnerFailed: 4005,
  /** A frame was larger than the cap. */
  oversize: 4009,
  /** The learner's run is over. */
  runOver: 4011,
  /** The learner is stopping and may come back. */
  goingAway: 4012,
} as const;

/**
 * Check a frame cap given as an option.
 * @param maxFrameBytes Cap in bytes.
 * @returns The same number.
 * @throws {RangeError} If it is not an integer of at least {@link MIN_MAX_FRAME_BYTES}.
 */
export function checkFrameCap(maxFrameBytes: number): number {
  if (!Number.isSafeInteger(maxFrameBytes) || maxFrameBytes < MIN_MAX_FRAME_BYTES) {
    throw new RangeError(
      `Cannot use a frame cap of ${maxFrameBytes} bytes: it must be an integer of at least ` +
        `${MIN_MAX_FRAME_BYTES}`,
    );
  }
  return maxFrameBytes;
}

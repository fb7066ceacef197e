/**
 * One version of the weights, ready to be sent: to whom has none yet all of them, to others what has
 * changed since the server began.
 *
 * @module
 */

import type { HostTensor } from "../../common/types.ts";
import { encodeFrame } from "../../common/wire/frames.ts";
import type { WeightsMessage } from "../../common/wire/messages.ts";
import { splitWeights, type WeightsSnapshot } from "../../common/wire/weights_parts.ts";

/** Frames in the order to send them. */
export type Frames = readonly Uint8Array<ArrayBuffer>[];

/** A version of the weights; each of its two forms is encoded once, when somebody wants it. */
export class PublishedWeights {
  /** Policy version. */
  readonly version: number;
  /** For a connection that has received no version yet: all tensors. */
  readonly all: () => Frames;
  /**
   * For a connection that has one: tensors that have changed since the server began. What every version
   * has in common such a connection holds already.
   */
  readonly changes: () => Frames;

  /**
   * A version to send.
   * @param snapshot All its tensors; they must not change afterwards.
   * @param first Tensors of the server's first version: one that is the very same has not changed.
   * @param maxFrameBytes Cap of a frame in bytes.
   * @throws {RangeError} As `splitWeights()` does.
   */
  constructor(snapshot: WeightsSnapshot, first: readonly HostTensor[], maxFrameBytes: number) {
    const known = new Set(first);
    const changed = snapshot.tensors.filter((tensor) => !known.has(tensor));
    const framesOf = (tensors: readonly HostTensor[]) => {
      const parts = splitWeights({ ...snapshot, tensors }, maxFrameBytes);
      return once(parts, maxFrameBytes);
    };
    this.version = snapshot.version;
    this.all = framesOf(snapshot.tensors);
    // Where everything is trained both are one.
    this.changes = changed.length === snapshot.tensors.length ? this.all : framesOf(changed);
  }
}

function once(parts: readonly WeightsMessage[], maxFrameBytes: number): () => Frames {
  let frames: Frames | undefined;
  return () => frames ??= parts.map((part) => encodeFrame(part, { maxFrameBytes }));
}

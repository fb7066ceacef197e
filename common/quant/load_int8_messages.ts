/**
 * What {@link loadInt8InThreads} and its threads say to each other.
 *
 * @module
 */

import type { MappedTensor } from "../checkpoint/names/mapped_tensor.ts";
import type { HostTensor } from "../types.ts";
import type { Int8Tensor } from "./int8_tensor.ts";

/** To a thread: load these. */
export interface LoadRequest {
  /** The checkpoint. */
  readonly path: string;
  /** What to load and what it is made of. */
  readonly mapped: readonly MappedTensor[];
}

/** From a thread. */
export type LoadReply =
  | {
    /** It goes on. */
    readonly kind: "progress";
    /** Numbers that this thread has read. */
    readonly done: number;
    /** The tensor that it reads. */
    readonly name: string;
    /** Resident size of the process in bytes. */
    readonly residentBytes: number;
  }
  | {
    /** It is done; the buffers are transferred. */
    readonly kind: "loaded";
    /** Matrices in 8 bits. */
    readonly matrices: readonly Int8Tensor[];
    /** The rest. */
    readonly floats: readonly HostTensor[];
  }
  | {
    /** It cannot go on. */
    readonly kind: "failed";
    /** Why, one sentence. */
    readonly sentence: string;
  };

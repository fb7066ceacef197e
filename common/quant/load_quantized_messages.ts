/**
 * What {@link loadQuantizedInThreads} and its threads say to each other.
 *
 * @module
 */

import type { MappedTensor } from "../checkpoint/names/mapped_tensor.ts";
import type { HostTensor } from "../types.ts";
import type { QuantizedTarget } from "./load_quantized.ts";
import type { QuantizedTensor } from "./quantized_tensor.ts";

/** To a thread: load these. */
export interface LoadRequest {
  /** The checkpoint. */
  readonly path: string;
  /** What to load and what it is made of. */
  readonly mapped: readonly MappedTensor[];
  /** Into how many bits, and which matrices. */
  readonly target: QuantizedTarget;
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
    /** Matrices in few bits. */
    readonly matrices: readonly QuantizedTensor[];
    /** The rest. */
    readonly floats: readonly HostTensor[];
  }
  | {
    /** It cannot go on. */
    readonly kind: "failed";
    /** Why, one sentence. */
    readonly sentence: string;
  };

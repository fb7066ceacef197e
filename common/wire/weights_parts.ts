/**
 * A version of the weights may be larger than a frame: it is cut into parts, large tensors into
 * consecutive slices, and put together again on the other side.
 *
 * @module
 */
import type { HostTensor } from "../types.ts";
import type { TensorSlice, WeightsMessage } from "./messages.ts";
import { checkFrameCap, DEFAULT_MAX_FRAME_BYTES } from "./protocol.ts";
import { MAX_ID_LENGTH } from "./validate.ts";
import { WireError } from "./wire_error.ts";

/** Tensors of one policy version: all, or those that are not as they were. */
export interface WeightsSnapshot {
  /** Policy version, growing. */
  readonly version: number;
  /** How much of the run was done when they were published, 0–1; 0 if absent. */
  readonly progress?: number;
  /** The tensors, in the sender's order. */
  readonly tensors: readonly HostTensor[];
}

/** Kept free in a frame for the message around the slices, in bytes. */
const PART_OVERHEAD_BYTES = 1024;
/** Headers, keys and dimensions of a slice at their largest, in bytes; the name comes on top. */
const SLICE_OVERHEAD_BYTES = 256;
/** Most slices in a part; below the validator's bound and the structure's bound on values. */
const MAX_SLICES_PER_PART = 4096;
/** Most bytes of a complete version that a receiver accepts by default. */
const DEFAULT_MAX_WEIGHTS_BYTES = 2 * 1024 ** 3;

/**
 * Cut a version of the weights into messages that each fit a frame.
 * @param snapshot Version and tensors. Their data is not copied.
 * @param maxFrameBytes Cap of a frame in bytes.
 * @returns At least one message, in the order to send them.
 * @throws {RangeError} If the cap is too small, a tensor's data does not fill its shape, or its name
 *   is longer than 200 characters.
 */
export function splitWeights(
  snapshot: WeightsSnapshot,
  maxFrameBytes: number = DEFAULT_MAX_FRAME_BYTES,
): WeightsMessage[] {
  const room = checkFrameCap(maxFrameBytes) - PART_OVERHEAD_BYTES;
  const parts: TensorSlice[][] = [[]];
  let used = 0;
  for (const { name, shape, data } of snapshot.tensors) {
    if (sizeOf(shape) !== data.length) {
      throw new RangeError(
        `Cannot send weights: ${name} has ${data.length} values, its shape ` +
          `[${shape.join(", ")}] has ${sizeOf(shape)}`,
      );
    }
    if (name.length > MAX_ID_LENGTH) {
      throw new RangeError(
        `Cannot send weights: the name ${name.slice(0, 40)}… has ${name.length} characters, the ` +
          `limit is ${MAX_ID_LENGTH}`,
      );
    }
    const overhead = SLICE_OVERHEAD_BYTES + 3 * name.length;
    for (let offset = 0; offset < data.length;) {
      const part = parts[parts.length - 1];
      const fits = Math.floor((room - used - overhead) / Float32Array.BYTES_PER_ELEMENT);
      if (part.length >= MAX_SLICES_PER_PART || fits < 1) {
        parts.push([]);
        used = 0;
        continue;
      }
      const end = Math.min(data.length, offset + fits);
      part.push({ name, shape, offset, data: data.subarray(offset, end) });
      used += overhead + (end - offset) * Float32Array.BYTES_PER_ELEMENT;
      offset = end;
    }
  }
  return parts.map((slices, partIndex) => ({
    type: "weights",
    version: snapshot.version,
    progress: snapshot.progress ?? 0,
    partIndex,
    partCount: parts.length,
    slices,
  }));
}

interface GrowingTensor {
  readonly shape: readonly number[];
  readonly size: number;
  data: Float32Array;
  filled: number;
}

/** Puts the parts of {@link splitWeights} together again, one connection's worth. */
export class WeightsAssembler {
  readonly #maxBytes: number;
  #version = -1;
  #progress = 0;
  #partCount = 0;
  #nextPart = 0;
  #promisedBytes = 0;
  #tensors = new Map<string, GrowingTensor>();

  /**
   * An assembler with nothing in it.
   * @param maxBytes Most bytes of a complete version; default 2 GiB.
   */
  constructor(maxBytes: number = DEFAULT_MAX_WEIGHTS_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Take the next part. Part 0 begins a version and forgets an unfinished one.
   * @param part As received.
   * @returns The complete weights with the last part, null before. A tensor that came in one slice
   *   is a view on its frame.
   * @throws {WireError} If parts are out of order, do not fill the tensors exactly, are larger than
   *   the limit (checked before allocation) or hold values that are not finite.
   */
  add(part: WeightsMessage): WeightsSnapshot | null {
    if (part.partIndex === 0) this.#begin(part);
    if (
      part.version !== this.#version || part.partIndex !== this.#nextPart ||
      part.partCount !== this.#partCount
    ) {
      throw new WireError(
        "malformed",
        `Cannot take weights: part ${part.partIndex} of version ${part.version} came where part ` +
          `${this.#nextPart} of version ${this.#version} was due`,
      );
    }
    this.#nextPart++;
    for (const slice of part.slices) this.#place(slice);
    return this.#nextPart === this.#partCount ? this.#finish() : null;
  }

  #begin(part: WeightsMessage): void {
    this.#version = part.version;
    this.#progress = part.progress;
    this.#partCount = part.partCount;
    this.#nextPart = 0;
    this.#promisedBytes = 0;
    this.#tensors = new Map();
  }

  #place(slice: TensorSlice): void {
    const { name, shape, offset, data } = slice;
    let tensor = this.#tensors.get(name);
    if (tensor === undefined) {
      const size = sizeOf(shape);
      this.#promisedBytes += size * Float32Array.BYTES_PER_ELEMENT;
      if (!(this.#promisedBytes <= this.#maxBytes)) {
        throw new WireError(
          "oversize",
          `Cannot take weights: they have at least ${this.#promisedBytes} bytes, the limit is ` +
            `${this.#maxBytes}`,
        );
      }
      const isWhole = offset === 0 && data.length === size;
      tensor = { shape, size, data: isWhole ? data : new Float32Array(size), filled: 0 };
      this.#tensors.set(name, tensor);
    }
    if (
      offset !== tensor.filled || offset + data.length > tensor.size || data.length === 0 ||
      shape.join() !== tensor.shape.join()
    ) {
      throw new WireError(
        "malformed",
        `Cannot take weights: ${name} got ${data.length} values at ${offset}, ${tensor.filled} of ` +
          `${tensor.size} were filled`,
      );
    }
    const bad = firstNotFinite(data);
    if (bad >= 0) {
      throw new WireError(
        "malformed",
        `Cannot take weights: ${name} holds ${data[bad]} at index ${offset + bad}`,
      );
    }
    if (tensor.data !== data) tensor.data.set(data, offset);
    tensor.filled += data.length;
  }

  #finish(): WeightsSnapshot {
    const tensors: HostTensor[] = [];
    for (const [name, { shape, size, data, filled }] of this.#tensors) {
      if (filled !== size) {
        throw new WireError(
          "malformed",
          `Cannot take weights: ${name} has ${filled} of ${size} values after the last part`,
        );
      }
      tensors.push({ name, shape, data });
    }
    this.#tensors = new Map();
    this.#nextPart = -1;
    return { version: this.#version, progress: this.#progress, tensors };
  }
}

// A plain loop: findIndex takes four times as long on a million values.
function firstNotFinite(data: Float32Array): number {
  for (let at = 0; at < data.length; at++) {
    if (!Number.isFinite(data[at])) return at;
  }
  return -1;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, dimension) => size * dimension, 1);
}

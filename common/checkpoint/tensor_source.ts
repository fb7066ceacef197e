/**
 * What every checkpoint format looks like once it is open: named tensors that are read a block at a
 * time, so that nobody ever holds more of a large file than they asked for.
 *
 * @module
 */

import type { HostTensor } from "../types.ts";
import type { QuantizedDtype } from "./dtype.ts";

/** Formats that can be opened. */
export type SourceFormat = "safetensors" | "orbax-ocdbt" | "orbax-zarr" | "npz";

/** Number formats that a source may store; all are widened to float32 when read. */
export type StoredDtype = "F32" | "F16" | "BF16";

/** A tensor as its file describes it. Nothing of its values has been read. */
export interface StoredTensor {
  /** Its name as the file has it, with `/` or `.` between its parts. */
  readonly name: string;
  /** Its shape; empty for a scalar. */
  readonly shape: readonly number[];
  /** How its numbers are stored. */
  readonly dtype: StoredDtype | QuantizedDtype;
  /** The file that holds its values or, for a store of many files, its description. */
  readonly file: string;
}

/** Something that a file holds beside its tensors: a counter, a number format that is not read. */
export interface SkippedTensor {
  /** Its name as the file has it. */
  readonly name: string;
  /** Why it is not among the tensors, such as `its dtype is "<i4", not a float that is read`. */
  readonly reason: string;
  /** The file that holds or describes it. */
  readonly file: string;
}

/** A hyper-rectangle of a tensor. */
export interface TensorBlock {
  /** Index of its first element along each axis. */
  readonly origin: readonly number[];
  /** Its extent along each axis. */
  readonly shape: readonly number[];
  /** Its values, row-major, widened to float32. Valid until the next block is asked for. */
  readonly values: Float32Array;
}

/** An open checkpoint of any format. Owner of its files. */
export interface TensorSource extends Disposable {
  /** Which format. */
  readonly format: SourceFormat;
  /** The file or folder that was opened. */
  readonly path: string;
  /** What it holds, sorted by name. */
  readonly tensors: readonly StoredTensor[];
  /** What it holds beside them. */
  readonly skipped: readonly SkippedTensor[];
  /**
   * Read a tensor block by block. Blocks do not overlap and cover all of it; their order and sizes are
   * the file's own, but none has more than about `maxBlockBytes` of float32 unless the file stores it
   * in one compressed piece that is larger.
   *
   * @param name Name of a tensor in {@link tensors}.
   * @param maxBlockBytes Wished bound of one block in bytes of float32; 4 MiB by default, which is
   *   faster than more: larger blocks leave the processor's caches.
   * @throws {CheckpointError} One sentence with the file and the offset or key, when the bytes are
   *   damaged, or when there is no such tensor.
   */
  blocks(name: string, maxBlockBytes?: number): AsyncIterable<TensorBlock>;
  /**
   * Read a whole tensor as float32.
   *
   * @param name Name of a tensor in {@link tensors}.
   * @throws {CheckpointError} As {@link blocks} does.
   */
  read(name: string): Promise<HostTensor>;
}

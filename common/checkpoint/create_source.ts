/**
 * Makes a {@link TensorSource} of what its format alone knows: where tensors lie and how blocks are
 * read.
 *
 * @module
 */

import { CheckpointError } from "./errors.ts";
import { assembleTensor, DEFAULT_BLOCK_BYTES } from "./tensor_blocks.ts";
import type {
  SkippedTensor,
  SourceFormat,
  StoredTensor,
  TensorBlock,
  TensorSource,
} from "./tensor_source.ts";

/** What {@link createTensorSource} needs; T is a tensor with its place in the files. */
export interface SourceParts<T extends StoredTensor> {
  /** Which format. */
  readonly format: SourceFormat;
  /** The file or folder. */
  readonly path: string;
  /** What it holds, in any order. */
  readonly tensors: readonly T[];
  /** What it holds and is not read. */
  readonly skipped: readonly SkippedTensor[];
  /** Read a tensor block by block. */
  readonly readBlocks: (tensor: T, maxBlockBytes: number) => AsyncIterable<TensorBlock>;
}

/**
 * Make a source. No file stays open between reads, so disposing of it does nothing.
 *
 * @param parts What the format knows.
 * @returns The source.
 */
export function createTensorSource<T extends StoredTensor>(parts: SourceParts<T>): TensorSource {
  const { format, path, skipped, readBlocks } = parts;
  const byName = new Map(parts.tensors.map((tensor) => [tensor.name, tensor]));
  const find = (name: string): T => {
    const tensor = byName.get(name);
    if (tensor === undefined) {
      throw new CheckpointError(`Cannot read ${path}: it has no tensor ${JSON.stringify(name)}.`);
    }
    return tensor;
  };
  return {
    format,
    path,
    skipped,
    tensors: parts.tensors
      .map(({ name, shape, dtype, file }) => ({ name, shape, dtype, file }))
      .sort((a, b) => a.name < b.name ? -1 : 1),
    async *blocks(name, maxBlockBytes = DEFAULT_BLOCK_BYTES) {
      yield* readBlocks(find(name), maxBlockBytes);
    },
    async read(name) {
      const tensor = find(name);
      return await assembleTensor(tensor, readBlocks(tensor, DEFAULT_BLOCK_BYTES));
    },
    [Symbol.dispose]() {},
  };
}

/**
 * NumPy's `.npz` archives, such as PaliGemma's, as a {@link TensorSource}.
 *
 * @module
 */

import { createTensorSource } from "./create_source.ts";
import { BYTES_PER_NUMBER } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { type ArchiveEntry, listArchive, unpackEntry } from "./npz_archive.ts";
import { NPY_PREFIX_BYTES, type NpyHeader, npyHeaderBytes, parseNpyHeader } from "./npz_header.ts";
import { elementCount } from "./safetensors_header.ts";
import { blocksOfBytes, copyBox, rowMajorStrides } from "./tensor_blocks.ts";
import type {
  SkippedTensor,
  StoredDtype,
  StoredTensor,
  TensorBlock,
  TensorSource,
} from "./tensor_source.ts";

const SUFFIX = ".npy";

/** A tensor and its place. */
interface NpzTensor extends StoredTensor {
  readonly dtype: StoredDtype;
  readonly entry: ArchiveEntry;
  readonly header: NpyHeader;
}

/** Pieces without the first bytes. */
async function* skipBytes(
  pieces: AsyncIterable<Uint8Array>,
  count: number,
): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const piece of pieces) {
    const rest = piece.subarray(Math.min(left, piece.length));
    left -= piece.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}

/** A block of a tensor whose axes lie in reverse order in the file. */
function reverseAxes({ origin, shape, values }: TensorBlock): TensorBlock {
  const reversed = shape.toReversed();
  const turned = new Float32Array(values.length);
  copyBox(
    { values, first: 0, strides: rowMajorStrides(shape).reverse() },
    { values: turned, first: 0, strides: rowMajorStrides(reversed) },
    reversed,
  );
  return { origin: origin.toReversed(), shape: reversed, values: turned };
}

/** Read a tensor of the archive at `path`. */
async function* npzBlocks(
  path: string,
  { name, entry, header, shape, dtype }: NpzTensor,
  maxBlockBytes: number,
): AsyncGenerator<TensorBlock> {
  const bytes = skipBytes(unpackEntry(path, entry), header.byteLength);
  const stored = { shape: header.isFortranOrder ? shape.toReversed() : shape, dtype };
  const truncated = (found: number) =>
    new CheckpointError(`Cannot read ${path}: tensor ${name} ends after ${found} bytes.`);
  for await (const block of blocksOfBytes(bytes, stored, maxBlockBytes, truncated)) {
    yield header.isFortranOrder ? reverseAxes(block) : block;
  }
}

/** Read the header of an entry without unpacking more than it takes. */
async function readNpyHeader(path: string, entry: ArchiveEntry): Promise<NpyHeader> {
  let bytes = new Uint8Array(0);
  let needed = NPY_PREFIX_BYTES;
  for await (const piece of unpackEntry(path, entry)) {
    const joined = new Uint8Array(bytes.length + piece.length);
    joined.set(bytes);
    joined.set(piece, bytes.length);
    bytes = joined;
    if (needed === NPY_PREFIX_BYTES && bytes.length >= needed) needed = npyHeaderBytes(bytes);
    if (bytes.length >= needed) break;
  }
  if (bytes.length < needed || needed === NPY_PREFIX_BYTES) {
    throw new SyntaxError(`it ends after ${bytes.length} bytes, inside of its .npy header`);
  }
  return parseNpyHeader(bytes.subarray(0, needed));
}

/**
 * Open an `.npz` archive.
 *
 * @param path The archive.
 * @returns Its arrays under their names without `.npy`.
 * @throws {CheckpointError} When it is truncated or damaged, or when an entry's size is not what
 *   its shape takes, as in a decompression bomb: one sentence with the entry and its place.
 */
export async function openNpz(path: string): Promise<TensorSource> {
  const tensors: NpzTensor[] = [];
  const skipped: SkippedTensor[] = [];
  for (const entry of await listArchive(path)) {
    const refuse = (reason: string, cause?: unknown) =>
      new CheckpointError(`Cannot read ${JSON.stringify(entry.name)} in ${path}: ${reason}.`, {
        cause,
      });
    if (!entry.name.endsWith(SUFFIX)) {
      throw refuse("it is no .npy file, so this is no .npz archive");
    }
    const name = entry.name.slice(0, -SUFFIX.length);
    let header: NpyHeader;
    try {
      header = await readNpyHeader(path, entry);
    } catch (error) {
      if (error instanceof SyntaxError) throw refuse(error.message, error);
      throw error;
    }
    const { dtype, shape, descr, byteLength } = header;
    if (dtype === undefined) {
      const reason = `its dtype is ${JSON.stringify(descr)}, not a float that is read`;
      skipped.push({ name, reason, file: path });
      continue;
    }
    const expected = byteLength + elementCount(shape) * BYTES_PER_NUMBER[dtype];
    if (entry.byteLength !== expected) {
      throw refuse(
        `the entry unpacks to ${entry.byteLength} bytes, but shape [${shape.join(", ")}] of ` +
          `${dtype} takes ${expected}; it is damaged or a decompression bomb`,
      );
    }
    tensors.push({ name, shape, dtype, file: path, entry, header });
  }
  if (tensors.length === 0) throw new CheckpointError(`Cannot read ${path}: it holds no tensor.`);
  return createTensorSource({
    format: "npz",
    path,
    tensors,
    skipped,
    readBlocks: (tensor, maxBlockBytes) => npzBlocks(path, tensor, maxBlockBytes),
  });
}

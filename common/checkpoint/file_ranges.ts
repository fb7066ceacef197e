/**
 * Reading parts of files. No file stays open between calls, so nobody has to close anything, and
 * every size is compared with the file before memory is taken for it.
 *
 * @module
 */

import { CheckpointError } from "./errors.ts";

/** Bytes fetched at a time by {@link streamRange}. */
const PIECE_BYTES = 1 << 21;

/**
 * Turn whatever the file system throws into one sentence.
 *
 * @param error What was caught.
 * @param path The file.
 * @returns A {@link CheckpointError}.
 */
export function fileError(error: unknown, path: string): CheckpointError {
  if (error instanceof CheckpointError) return error;
  const reason = error instanceof Deno.errors.NotFound
    ? "there is no such file"
    : error instanceof Error
    ? error.message
    : String(error);
  return new CheckpointError(`Cannot read ${path}: ${reason}.`, { cause: error });
}

/**
 * Size of a file.
 *
 * @param path The file.
 * @returns Its bytes.
 * @throws {CheckpointError} When it is missing or is no file.
 */
export async function fileSize(path: string): Promise<number> {
  try {
    const { size, isFile } = await Deno.stat(path);
    if (!isFile) throw new CheckpointError(`Cannot read ${path}: it is not a file.`);
    return size;
  } catch (error) {
    throw fileError(error, path);
  }
}

async function openAt(path: string, offset: number, length: number): Promise<Deno.FsFile> {
  const file = await Deno.open(path, { read: true });
  try {
    const { size, isFile } = await file.stat();
    if (!isFile) throw new CheckpointError(`Cannot read ${path}: it is not a file.`);
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new CheckpointError(
        `Cannot read ${path}: bytes ${offset} to ${offset + length} are wanted, but it ends at ` +
          `${size}; it is truncated or damaged, copy it again.`,
      );
    }
    if (offset > 0) await file.seek(offset, Deno.SeekMode.Start);
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

async function fill(file: Deno.FsFile, target: Uint8Array, path: string): Promise<void> {
  for (let filled = 0; filled < target.length;) {
    const count = await file.read(target.subarray(filled));
    if (count === null) {
      throw new CheckpointError(`Cannot read ${path}: it became shorter while it was read.`);
    }
    filled += count;
  }
}

/**
 * Read some bytes of a file.
 *
 * @param path The file.
 * @param offset First byte.
 * @param length How many bytes; nothing is allocated when the file has fewer.
 * @throws {CheckpointError} When the file is missing or has fewer bytes.
 */
export async function readRange(
  path: string,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    using file = await openAt(path, offset, length);
    const bytes = new Uint8Array(length);
    await fill(file, bytes, path);
    return bytes;
  } catch (error) {
    throw fileError(error, path);
  }
}

/**
 * Read some bytes of a file piece by piece.
 *
 * @param path The file.
 * @param offset First byte.
 * @param length How many bytes.
 * @returns Pieces of at most 2 MiB; each is valid until the next one is asked for.
 * @throws {CheckpointError} When the file is missing or has fewer bytes.
 */
export async function* streamRange(
  path: string,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    using file = await openAt(path, offset, length);
    for (let done = 0; done < length;) {
      // A new buffer each time: a decompressor may still hold the last one.
      const piece = new Uint8Array(Math.min(PIECE_BYTES, length - done));
      await fill(file, piece, path);
      done += piece.length;
      yield piece;
    }
  } catch (error) {
    throw fileError(error, path);
  }
}

/**
 * Read a whole file that must be small.
 *
 * @param path The file.
 * @param maxBytes Largest size.
 * @throws {CheckpointError} When it is missing or larger.
 */
export async function readSmallFile(
  path: string,
  maxBytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const size = await fileSize(path);
  if (size > maxBytes) {
    throw new CheckpointError(
      `Cannot read ${path}: it has ${size} bytes, the limit is ${maxBytes}.`,
    );
  }
  return await readRange(path, 0, size);
}

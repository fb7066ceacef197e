/**
 * What the two forms of an Orbax checkpoint have in common: byte strings under keys, such as
 * `params.PaliGemma.img.head.kernel/.zarray` and `params.PaliGemma.img.head.kernel/0.0`.
 *
 * @module
 */

import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointError } from "./errors.ts";
import { fileError, readRange, streamRange } from "./file_ranges.ts";

/** Keys and where their values lie. Nothing is open. */
export interface KeyValueStore {
  /** The folder. */
  readonly path: string;
  /** Every key with the size of its value in bytes. */
  readonly sizes: ReadonlyMap<string, number>;
  /**
   * Where a value lies, for people.
   *
   * @param key One of the keys.
   */
  place(key: string): string;
  /**
   * Read some bytes of a value.
   *
   * @param key One of the keys.
   * @param offset First byte.
   * @param length How many, inside the value.
   * @throws {CheckpointError} When the file has become shorter.
   */
  read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * Read a value piece by piece.
   *
   * @param key One of the keys.
   * @throws {CheckpointError} When the file has become shorter.
   */
  stream(key: string): AsyncIterable<Uint8Array>;
}

/** Far above any checkpoint; a folder with more files is none. */
const MAX_FILES = 1_000_000;

/** Deepest nesting of folders that is searched for arrays. */
const MAX_DEPTH = 32;

/**
 * Open a folder whose files are the values.
 *
 * @param path The folder.
 * @returns Its files under their paths below it, with forward slashes.
 * @throws {CheckpointError} When it cannot be listed.
 */
export async function openDirectoryStore(path: string): Promise<KeyValueStore> {
  const sizes = new Map<string, number>();
  const list = async (folder: string, prefix: string, depth: number) => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const key = prefix + entry.name;
      const child = join(folder, entry.name);
      // Links are followed to files alone, so that no loop of folders is walked.
      if (entry.isDirectory()) {
        if (depth < MAX_DEPTH) await list(child, `${key}/`, depth + 1);
      } else sizes.set(key, (await stat(child)).size);
      if (sizes.size > MAX_FILES) {
        throw new CheckpointError(`Cannot read ${path}: it has more than ${MAX_FILES} files.`);
      }
    }
  };
  try {
    await list(path, "", 0);
  } catch (error) {
    throw fileError(error, path);
  }
  return {
    path,
    sizes,
    place: (key) => join(path, key),
    read: (key, offset, length) => readRange(join(path, key), offset, length),
    stream: (key) => streamRange(join(path, key), 0, sizes.get(key) ?? 0),
  };
}

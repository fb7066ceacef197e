/**
 * The table of data files at the head of a manifest or node, and references into it.
 *
 * @module
 */

import type { ByteReader } from "./byte_reader.ts";

/** Longest path, from the format. */
const MAX_PATH_BYTES = 65535;

/** A data file as a table names it. */
export interface DataFile {
  /** Path below the root of the database, with forward slashes. */
  readonly path: string;
  /** The part of it that also applies to files which nodes in this file name. */
  readonly base: string;
}

/** Some bytes of a data file. */
export interface DataReference {
  /** The file. */
  readonly file: DataFile;
  /** First byte. */
  readonly offset: number;
  /** How many bytes. */
  readonly length: number;
}

/** Offset and length of a root that is not there, 2⁶⁴ − 1, as a float64 rounds it. */
const MISSING = 2 ** 64;

/**
 * Whether a reference says that there is nothing.
 *
 * @param reference The reference.
 */
export function isMissing({ offset, length }: DataReference): boolean {
  return offset === MISSING && length === MISSING;
}

function decodePath(bytes: Uint8Array, reader: ByteReader): string {
  let path: string;
  try {
    path = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw reader.damaged("a data file's path is not UTF-8");
  }
  // A checkpoint must not make anybody read files outside of its folder.
  if (path.startsWith("/") || path.includes("\0") || path.split("/").includes("..")) {
    throw reader.damaged(`data file ${JSON.stringify(path)} is outside of the checkpoint`);
  }
  return path;
}

/**
 * Read a table of data files: prefix-compressed paths, each split into a base and the rest.
 *
 * @param reader At the start of the table; afterwards behind it.
 * @param inheritedBase Base of the file that the table stands in; empty for a manifest.
 * @throws {CheckpointError} When it is malformed or a path leaves the database.
 */
export function readDataFiles(reader: ByteReader, inheritedBase: string): DataFile[] {
  const count = reader.count("data files", Number.MAX_SAFE_INTEGER);
  const prefixLengths = [0, ...reader.varints(Math.max(0, count - 1))];
  const suffixLengths = reader.varints(count);
  const baseLengths = reader.varints(count);
  const files: DataFile[] = [];
  let previous = new Uint8Array(0);
  for (let i = 0; i < count; i++) {
    const length = prefixLengths[i] + suffixLengths[i];
    if (prefixLengths[i] > previous.length || length > MAX_PATH_BYTES || baseLengths[i] > length) {
      throw reader.damaged(`the path of data file ${i} has impossible lengths`);
    }
    const path = new Uint8Array(length);
    path.set(previous.subarray(0, prefixLengths[i]));
    path.set(reader.bytes(suffixLengths[i]), prefixLengths[i]);
    files.push({
      path: inheritedBase + decodePath(path, reader),
      base: inheritedBase + decodePath(path.subarray(0, baseLengths[i]), reader),
    });
    previous = path;
  }
  return files;
}

/**
 * Read references' file indices.
 *
 * @param reader At the first index.
 * @param files The table.
 * @param count How many.
 * @throws {CheckpointError} When an index is beyond the table.
 */
export function readFileIds(
  reader: ByteReader,
  files: readonly DataFile[],
  count: number,
): DataFile[] {
  return reader.varints(count).map((index) => {
    if (index >= files.length) {
      throw reader.damaged(`it names data file ${index}, but its table has ${files.length}`);
    }
    return files[index];
  });
}

/**
 * Read whole references: all files, then all offsets, then all lengths.
 *
 * @param reader At the first file index.
 * @param files The table.
 * @param count How many.
 * @throws {CheckpointError} When an index is beyond the table.
 */
export function readReferences(
  reader: ByteReader,
  files: readonly DataFile[],
  count: number,
): DataReference[] {
  const ids = readFileIds(reader, files, count);
  const offsets = reader.varints(count);
  const lengths = reader.varints(count);
  return ids.map((file, i) => ({ file, offset: offsets[i], length: lengths[i] }));
}

/**
 * The entries of a ZIP archive as ranges of a file. zip.js reads the directory (with ZIP64, which
 * archives above 4 GB need); the bytes of an entry are then streamed from the file, decompressed
 * with a bound and compared with their CRC-32.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { type FileEntry, Reader, ZipReader } from "@zip.js/zip.js";
import { inflateStream } from "./bounded_inflate.ts";
import { CheckpointError } from "./errors.ts";
import { fileSize, readRange, streamRange } from "./file_ranges.ts";

const LOCAL_HEADER_BYTES = 30;
const LOCAL_HEADER_MAGIC = 0x04034b50;

/** Far above any checkpoint: PaliGemma's has a few dozen. */
const MAX_ENTRIES = 100_000;

/** DEFLATE makes at most 1032 bytes of one (zlib's technical details). */
const MAX_EXPANSION = 1032;

const STORED = 0;
const DEFLATED = 8;

/** One file in the archive. */
export interface ArchiveEntry {
  /** Its name. */
  readonly name: string;
  /** Whether its bytes are deflated. */
  readonly isDeflated: boolean;
  /** First byte of its data in the archive. */
  readonly start: number;
  /** Bytes in the archive. */
  readonly storedBytes: number;
  /** Bytes when unpacked. */
  readonly byteLength: number;
  /** CRC-32 of the unpacked bytes. */
  readonly crc32: number;
}

/** Random access for zip.js. */
class RangeReader extends Reader<string> {
  readonly #path: string;

  constructor(path: string, size: number) {
    super(path);
    this.#path = path;
    this.size = size;
  }

  override async readUint8Array(offset: number, length: number): Promise<Uint8Array> {
    const start = Math.min(Math.max(0, offset), this.size);
    return await readRange(this.#path, start, Math.min(length, this.size - start));
  }
}

function refuse(path: string, entry: string, reason: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`Cannot read ${JSON.stringify(entry)} in ${path}: ${reason}.`, {
    cause,
  });
}

/** Find the data behind an entry's local header and check the sizes. */
async function locate(entry: FileEntry, path: string, size: number): Promise<ArchiveEntry> {
  const { filename: name, compressionMethod, compressedSize, uncompressedSize, offset } = entry;
  const place = `at byte ${offset}`;
  if (entry.encrypted) throw refuse(path, name, `the entry ${place} is encrypted`);
  if (compressionMethod !== STORED && compressionMethod !== DEFLATED) {
    throw refuse(
      path,
      name,
      `the entry ${place} has compression method ${compressionMethod}, only 0 (stored) and 8 ` +
        `(deflated) are read`,
    );
  }
  if (!(offset >= 0 && offset + LOCAL_HEADER_BYTES <= size)) {
    throw refuse(path, name, `the entry is said to begin ${place}, the file ends at ${size}`);
  }
  const header = new DataView((await readRange(path, offset, LOCAL_HEADER_BYTES)).buffer);
  if (header.getUint32(0, true) !== LOCAL_HEADER_MAGIC) {
    throw refuse(path, name, `there is no entry ${place}; the archive is damaged`);
  }
  const start = offset + LOCAL_HEADER_BYTES + header.getUint16(26, true) +
    header.getUint16(28, true);
  if (!(start + compressedSize <= size)) {
    throw refuse(
      path,
      name,
      `its data is at bytes ${start} to ${start + compressedSize}, but the file ends at ${size}; ` +
        `it is truncated, copy it again`,
    );
  }
  const most = compressionMethod === STORED ? compressedSize : compressedSize * MAX_EXPANSION;
  if (
    uncompressedSize > most || (compressionMethod === STORED && uncompressedSize !== compressedSize)
  ) {
    throw refuse(
      path,
      name,
      `it claims to become ${uncompressedSize} bytes, but the ${compressedSize} bytes ${place} ` +
        `become ${most} at most`,
    );
  }
  return {
    name,
    isDeflated: compressionMethod === DEFLATED,
    start,
    storedBytes: compressedSize,
    byteLength: uncompressedSize,
    crc32: entry.signature ?? 0,
  };
}

/**
 * List the files of an archive.
 *
 * @param path The archive.
 * @returns Its entries without folders.
 * @throws {CheckpointError} When it is no ZIP archive, truncated or damaged.
 */
export async function listArchive(path: string): Promise<ArchiveEntry[]> {
  const size = await fileSize(path);
  const entries: ArchiveEntry[] = [];
  const names = new Set<string>();
  const reader = new ZipReader(new RangeReader(path, size), { useWebWorkers: false });
  try {
    for await (const entry of reader.getEntriesGenerator()) {
      if (entry.directory) continue;
      if (names.has(entry.filename)) {
        throw refuse(path, entry.filename, "there are two entries of this name");
      }
      if (names.size >= MAX_ENTRIES) {
        throw refuse(path, entry.filename, `there are more than ${MAX_ENTRIES} entries`);
      }
      names.add(entry.filename);
      entries.push(await locate(entry, path, size));
    }
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw new CheckpointError(
      `Cannot read ${path}: it is no ZIP archive or is damaged (${(error as Error).message}).`,
      { cause: error },
    );
  } finally {
    await reader.close();
  }
  return entries;
}

/**
 * Unpack an entry.
 *
 * @param path The archive.
 * @param entry One of its entries.
 * @returns Its bytes in pieces. The checksum is compared when the last one has been taken.
 * @throws {CheckpointError} When the data is damaged or becomes more bytes than it should.
 */
export async function* unpackEntry(
  path: string,
  { name, isDeflated, start, storedBytes, byteLength, crc32: expected }: ArchiveEntry,
): AsyncGenerator<Uint8Array> {
  try {
    const stored = streamRange(path, start, storedBytes);
    let crc = 0;
    for await (
      const piece of isDeflated ? inflateStream(stored, "deflate", byteLength) : stored
    ) {
      crc = crc32(piece, crc);
      yield piece;
    }
    if (crc !== expected >>> 0) {
      throw new RangeError(`its checksum is ${crc}, but ${expected >>> 0} is stored`);
    }
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    throw refuse(
      path,
      name,
      `the data at byte ${start} is damaged (${(error as Error).message}); copy it again`,
      error,
    );
  }
}

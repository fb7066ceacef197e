/**
 * What OCDBT puts around a manifest and around every node: magic, length, version, compression and
 * a CRC-32C (format: TensorStore, "OCDBT key-value store driver", storage format).
 *
 * @module
 */

import { zstdDecompressSync } from "node:zlib";
import { CheckpointError } from "../errors.ts";
import { ByteReader } from "./byte_reader.ts";
import { crc32c } from "./crc32c.ts";

/** First four bytes, big-endian, of each kind of envelope. */
export const MAGIC = { manifest: 0x0cdb3a2a, "B+tree node": 0x0cdb20de } as const;

/** What an envelope may hold. */
export type EnvelopeKind = keyof typeof MAGIC;

/** Magic and length. */
const FIXED_BYTES = 12;
const CHECKSUM_BYTES = 4;

/** Orbax allows its nodes 100 MB before compression; anything far above is damage or a bomb. */
const MAX_BODY_BYTES = 1 << 27;

function inflate(bytes: Uint8Array, place: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(zstdDecompressSync(bytes, { maxOutputLength: MAX_BODY_BYTES }));
  } catch (cause) {
    throw new CheckpointError(
      `Cannot read ${place}: its body is no zstd frame of at most ${MAX_BODY_BYTES} bytes ` +
        `(${(cause as Error).message}); the checkpoint is damaged.`,
      { cause },
    );
  }
}

/**
 * Check an envelope and open it.
 *
 * @param bytes All of it.
 * @param kind What it should hold.
 * @param file The file that it comes from, for errors.
 * @param offset Its first byte in the file, for errors.
 * @returns A reader of the decompressed body.
 * @throws {CheckpointError} When magic, length, checksum, version or compression is not right.
 */
export function openEnvelope(
  bytes: Uint8Array<ArrayBuffer>,
  kind: EnvelopeKind,
  file: string,
  offset: number,
): ByteReader {
  const place = `the ${kind} at byte ${offset} of ${file}`;
  const header = new ByteReader(bytes, place);
  if (bytes.length < FIXED_BYTES + CHECKSUM_BYTES) {
    throw header.damaged(`it is truncated to ${bytes.length} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint32(0);
  if (magic !== MAGIC[kind]) {
    throw header.damaged(
      `it begins with 0x${magic.toString(16).padStart(8, "0")} where 0x0${
        MAGIC[kind].toString(16)
      } is expected`,
    );
  }
  const length = Number(view.getBigUint64(4, true));
  if (length !== bytes.length) {
    throw header.damaged(`it claims ${length} bytes, ${bytes.length} are there`);
  }
  const body = bytes.subarray(0, bytes.length - CHECKSUM_BYTES);
  const [stored, computed] = [view.getUint32(body.length, true), crc32c(body)];
  if (stored !== computed) {
    throw header.damaged(`its checksum is ${computed}, but ${stored} is stored`);
  }
  const reader = new ByteReader(body, place);
  reader.bytes(FIXED_BYTES);
  const version = reader.varint();
  if (version !== 0) throw reader.damaged(`its format version is ${version}, only 0 is read`);
  const compression = reader.varint();
  const rest = reader.bytes(reader.remaining);
  if (compression === 0) return new ByteReader(rest, place);
  if (compression === 1) return new ByteReader(inflate(rest, place), place);
  throw reader.damaged(`its compression is ${compression}, only 0 (none) and 1 (zstd) are read`);
}

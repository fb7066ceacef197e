/**
 * Decompression that stops as soon as there is more output than there should be, so that no
 * compressed bomb fills memory.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { pipeline, Readable, type Transform } from "node:stream";
import {
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
  gunzipSync,
  inflateRawSync,
  inflateSync,
  zstdDecompressSync,
} from "node:zlib";

/** Formats; `deflate` has no header, `zlib` and `gzip` have theirs. */
export type Compression = "zstd" | "gzip" | "zlib" | "deflate";

/** Output buffer of a streaming decompressor. */
const PIECE_BYTES = 1 << 20;

const SYNC = {
  zstd: zstdDecompressSync,
  gzip: gunzipSync,
  zlib: inflateSync,
  deflate: inflateRawSync,
} as const;

const STREAMING: Readonly<Record<Compression, () => Transform>> = {
  zstd: () => createZstdDecompress({ chunkSize: PIECE_BYTES }),
  gzip: () => createGunzip({ chunkSize: PIECE_BYTES }),
  zlib: () => createInflate({ chunkSize: PIECE_BYTES }),
  deflate: () => createInflateRaw({ chunkSize: PIECE_BYTES }),
};

/**
 * Decompress a whole buffer.
 *
 * @param bytes Compressed bytes.
 * @param compression Their format.
 * @param length What they must become.
 * @throws {RangeError} When they become more or fewer bytes.
 * @throws {Error} When they are damaged.
 */
export function inflateExactly(
  bytes: Uint8Array,
  compression: Compression,
  length: number,
): Uint8Array<ArrayBuffer> {
  // The limit is one byte more than expected: Node's limit must not be 0, and more is seen as more.
  const { buffer, byteOffset, byteLength } = SYNC[compression](bytes, {
    maxOutputLength: length + 1,
  });
  if (byteLength !== length) {
    throw new RangeError(`it becomes ${byteLength} bytes where ${length} are expected`);
  }
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}

/**
 * Decompress a stream.
 *
 * @param source Compressed bytes.
 * @param compression Their format.
 * @param length What they must become.
 * @returns Decompressed pieces.
 * @throws {RangeError} When they become more or fewer bytes; no piece beyond is kept.
 * @throws {Error} When they are damaged, and whatever the source throws.
 */
export async function* inflateStream(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  length: number,
): AsyncGenerator<Uint8Array> {
  const inflater = STREAMING[compression]();
  const input = Readable.from(source, { objectMode: true });
  // The error also reaches the loop below, which throws it.
  pipeline(input, inflater, () => {});
  let total = 0;
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) {
      total += piece.length;
      if (total > length) {
        throw new RangeError(`it becomes more than the ${length} bytes that are expected`);
      }
      yield piece;
    }
  } finally {
    input.destroy();
    inflater.destroy();
  }
  if (total !== length) {
    throw new RangeError(`it becomes ${total} bytes where ${length} are expected`);
  }
}

/**
 * Zarr's byte codecs under names of our own in zarrita's registry: bounded by what the metadata
 * says a chunk must become, and with checksums that are compared.
 *
 * @module
 */

import { registry } from "zarrita";
import { type Compression, inflateExactly } from "./bounded_inflate.ts";
import { crc32c } from "./ocdbt/crc32c.ts";

/** Where our names begin, so that zarrita's own entries stay as they are. */
const PREFIX = "tendon.";

const CHECKSUM_BYTES = 4;

/** Fixed part of a Blosc 1 frame (c-blosc, "Blosc Chunk Format"). */
const BLOSC_HEADER_BYTES = 16;

/** Codecs that turn bytes into bytes. */
export type ByteCodec = "zstd" | "gzip" | "zlib" | "blosc" | "crc32c";

/** Bytes of a number of each kind that is presented to zarrita. */
const ITEM_BYTES: Readonly<Record<string, number>> = { float32: 4, uint16: 2, uint64: 8 };

/** What zarrita tells a codec about the chunk. */
interface ChunkMetadata {
  readonly dataType: string;
  readonly shape: readonly number[];
}

function chunkBytes({ dataType, shape }: ChunkMetadata): number {
  return shape.reduce((product, extent) => product * extent, ITEM_BYTES[dataType] ?? 8);
}

function unimplementedEncode(): never {
  throw new TypeError("Cannot encode: these codecs only read");
}

function inflater(compression: Compression) {
  return {
    fromConfig: (_config: unknown, chunk: ChunkMetadata) => ({
      kind: "bytes_to_bytes" as const,
      encode: unimplementedEncode,
      decode: (bytes: Uint8Array) => inflateExactly(bytes, compression, chunkBytes(chunk)),
    }),
  };
}

const checksum = {
  fromConfig: () => ({
    kind: "bytes_to_bytes" as const,
    encode: unimplementedEncode,
    computeEncodedSize: (size: number) => size + CHECKSUM_BYTES,
    decode(bytes: Uint8Array) {
      const end = bytes.length - CHECKSUM_BYTES;
      if (end < 0) throw new RangeError("it is too short for its checksum");
      const stored = new DataView(bytes.buffer, bytes.byteOffset + end).getUint32(0, true);
      const body = bytes.subarray(0, end);
      const computed = crc32c(body);
      if (stored !== computed) {
        throw new RangeError(`its checksum is ${computed}, but ${stored} is stored`);
      }
      return body;
    },
  }),
};

/** Check what Blosc's header claims before its decoder allocates for it. */
function checkBloscHeader(bytes: Uint8Array, expected: number): void {
  if (bytes.length < BLOSC_HEADER_BYTES) throw new RangeError("it is too short for a Blosc frame");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [decoded, block, encoded] = [4, 8, 12].map((at) => view.getUint32(at, true));
  if (decoded !== expected || encoded !== bytes.length || block > Math.max(decoded, 1)) {
    throw new RangeError(
      `its Blosc frame claims ${encoded} bytes that become ${decoded} in blocks of ${block}, ` +
        `where ${bytes.length} and ${expected} are expected`,
    );
  }
}

async function loadBlosc() {
  const load = registry.get("blosc");
  if (load === undefined) throw new TypeError("zarrita has no Blosc codec");
  const blosc = await load();
  return {
    fromConfig(config: unknown, chunk: ChunkMetadata) {
      // deno-lint-ignore no-explicit-any
      const codec = blosc.fromConfig(config, chunk as any);
      return {
        kind: "bytes_to_bytes" as const,
        encode: unimplementedEncode,
        decode(bytes: Uint8Array) {
          checkBloscHeader(bytes, chunkBytes(chunk));
          return codec.decode(bytes);
        },
      };
    },
  };
}

/**
 * Name under which a codec stands in zarrita's registry.
 *
 * @param codec The codec.
 */
export function registeredName(codec: ByteCodec): string {
  return PREFIX + codec;
}

/** Put the codecs into zarrita's registry. Doing it again changes nothing. */
export function registerCodecs(): void {
  if (registry.has(registeredName("zstd"))) return;
  for (const compression of ["zstd", "gzip", "zlib"] as const) {
    registry.set(registeredName(compression), () => Promise.resolve(inflater(compression)));
  }
  registry.set(registeredName("crc32c"), () => Promise.resolve(checksum));
  registry.set(registeredName("blosc"), loadBlosc);
}

/**
 * How an array's numbers become the bytes of its chunks: zarr's codecs, checked against those that
 * are read and translated for zarrita.
 *
 * @module
 */

import { z } from "zod";
import type { Compression } from "./bounded_inflate.ts";
import { type ByteCodec, registeredName } from "./zarr_codecs.ts";

/** Zarr itself and NumPy stop at 32 axes. */
export const MAX_RANK = 32;

/** A codec as metadata names it. */
export interface Codec {
  /** Its name in zarr v3. */
  readonly name: string;
  /** Its options. */
  readonly configuration?: Readonly<Record<string, unknown>>;
}

/** A codec as zarrita takes it. */
export interface RegisteredCodec {
  /** Its name in zarrita's registry. */
  readonly name: string;
  /** Its options. */
  readonly configuration: Record<string, unknown>;
}

/** How chunks are encoded. */
export interface Layout {
  /** Codecs under the names of our registry entries. */
  readonly codecs: readonly RegisteredCodec[];
  /** Shape of what is decoded at once: a chunk or, with sharding, one of the chunks in a shard. */
  readonly pieceShape: readonly number[];
  /**
   * How a chunk is compressed when it is nothing but row-major little-endian numbers, so that it
   * need not be decoded in one piece; undefined when it is more complicated.
   */
  readonly streaming: Compression | "none" | undefined;
}

/** A codec as zarr v3 writes it: an object, or its name alone. */
const codecSchema = z.union([
  z.object({ name: z.string(), configuration: z.record(z.string(), z.unknown()).optional() }),
  z.string().transform((name) => ({ name, configuration: undefined })),
]);

const codecsSchema = z.array(codecSchema);

const shardingSchema = z.object({
  chunk_shape: z.array(z.int().min(1)).max(MAX_RANK),
  codecs: codecsSchema,
  index_codecs: codecsSchema,
  index_location: z.literal("end").default("end"),
});

const BYTE_CODECS: readonly ByteCodec[] = ["zstd", "gzip", "zlib", "blosc", "crc32c"];

/** Translate the codecs behind `bytes`; a text names the first one that is not read. */
function byteCodecs(codecs: readonly Codec[]): RegisteredCodec[] | string {
  const translated: RegisteredCodec[] = [];
  let compressors = 0;
  for (const { name, configuration = {} } of codecs) {
    const codec = BYTE_CODECS.find((known) => known === name);
    if (codec === undefined) return name;
    if (codec !== "crc32c" && ++compressors > 1) return `a second ${name}`;
    translated.push({ name: registeredName(codec), configuration });
  }
  return translated;
}

/** Translate the codecs of an array without sharding; a text names what is not known. */
function arrayCodecs(codecs: readonly Codec[], rank: number): RegisteredCodec[] | string {
  const rest = [...codecs];
  const translated: RegisteredCodec[] = [];
  if (rest[0]?.name === "transpose") {
    const order = rest.shift()?.configuration?.order;
    const axes = Array.isArray(order) ? order : [];
    if (axes.length !== rank || new Set(axes).size !== rank) return "transpose without an order";
    if (!axes.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < rank)) {
      return "transpose with an impossible order";
    }
    translated.push({ name: "transpose", configuration: { order: axes } });
  }
  const bytes = rest.shift();
  if (bytes?.name !== "bytes") return bytes?.name ?? "no bytes codec";
  const endian = bytes.configuration?.endian ?? "little";
  if (endian !== "little" && endian !== "big") return `bytes with endian ${JSON.stringify(endian)}`;
  translated.push({ name: "bytes", configuration: { endian } });
  const behind = byteCodecs(rest);
  return typeof behind === "string" ? behind : [...translated, ...behind];
}

/** Whether chunks are row-major and little-endian with one compression at most. */
function streamingCompression(codecs: readonly RegisteredCodec[]): Layout["streaming"] {
  const [bytes, compression, ...more] = codecs;
  if (bytes?.name !== "bytes" || bytes.configuration.endian !== "little" || more.length > 0) {
    return undefined;
  }
  if (compression === undefined) return "none";
  return (["zstd", "gzip", "zlib"] as const).find((name) =>
    registeredName(name) === compression.name
  );
}

/**
 * Translate the codecs of an array that is not sharded.
 *
 * @param codecs As zarr v3 writes them, or zarr v2 in that form.
 * @param chunkShape Shape of its chunks.
 * @returns The layout, or the name of a codec that is not read.
 */
export function arrayLayout(
  codecs: readonly Codec[],
  chunkShape: readonly number[],
): Layout | string {
  const translated = arrayCodecs(codecs, chunkShape.length);
  if (typeof translated === "string") return translated;
  return {
    codecs: translated,
    pieceShape: chunkShape,
    streaming: streamingCompression(translated),
  };
}

/**
 * Translate the codecs of an array that may be sharded.
 *
 * @param value What zarr v3 writes under `codecs`.
 * @param chunkShape Shape of its chunks, which are the shards if there are any.
 * @returns The layout, or the name of a codec that is not read.
 */
export function shardedLayout(value: unknown, chunkShape: readonly number[]): Layout | string {
  const parsed = codecsSchema.safeParse(value);
  if (!parsed.success) return "not named as zarr does it";
  const codecs = parsed.data;
  const rank = chunkShape.length;
  if (codecs[0]?.name !== "sharding_indexed") return arrayLayout(codecs, chunkShape);
  const sharding = shardingSchema.safeParse(codecs[0].configuration);
  if (!sharding.success || codecs.length > 1) return "sharding_indexed with other options";
  const { chunk_shape: pieceShape } = sharding.data;
  if (pieceShape.length !== rank || chunkShape.some((size, i) => size % pieceShape[i] !== 0)) {
    return `sharding_indexed with chunks [${pieceShape.join(", ")}]`;
  }
  const inner = arrayCodecs(sharding.data.codecs, rank);
  if (typeof inner === "string") return inner;
  const index = arrayCodecs(sharding.data.index_codecs, rank + 1);
  if (typeof index === "string") return index;
  if (index.some(({ name }) => name !== "bytes" && name !== registeredName("crc32c"))) {
    return "sharding_indexed with a compressed index";
  }
  return {
    codecs: [{
      name: "sharding_indexed",
      configuration: { chunk_shape: pieceShape, codecs: inner, index_codecs: index },
    }],
    pieceShape,
    streaming: undefined,
  };
}

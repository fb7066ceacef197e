/**
 * What zarr v2's `.zarray` and v3's `zarr.json` say about an array, checked and put into the one
 * form that zarrita takes.
 *
 * Orbax writes v2 by default and v3 on request. 16-bit floats are presented to zarrita as uint16,
 * since it does not know bfloat16 (TensorStore's `"bfloat16"` in v2, an extension type in v3).
 *
 * @module
 */

import { z } from "zod";
import { BYTES_PER_NUMBER } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { elementCount } from "./safetensors_header.ts";
import type { StoredDtype } from "./tensor_source.ts";
import { arrayLayout, type Codec, type Layout, MAX_RANK, shardedLayout } from "./zarr_layout.ts";

/** Sharding and Blosc are decoded in one piece, which must fit a buffer. */
const MAX_PIECE_BYTES = 2 ** 31;

/** Far above any checkpoint: a full-size parameter in pieces of a few megabytes has thousands. */
const MAX_CHUNKS = 1_000_000;

/** An array that can be read. */
export interface ZarrArray extends Layout {
  /** Its shape. */
  readonly shape: readonly number[];
  /** Shape of what lies under one key: a chunk or, with sharding, a shard. */
  readonly chunkShape: readonly number[];
  /** Number format. */
  readonly dtype: StoredDtype;
  /** Value of chunks that are not stored. */
  readonly fill: number;
  /** How keys of chunks are made. */
  readonly keyEncoding: { readonly name: "default" | "v2"; readonly separator: "." | "/" };
}

/** What metadata may describe. */
export type ParsedArray =
  | { readonly kind: "array"; readonly array: ZarrArray }
  | { readonly kind: "group" }
  | { readonly kind: "skipped"; readonly reason: string };

const extent = z.int().min(0);
const shapeSchema = z.array(extent).max(MAX_RANK);
const chunkSchema = z.array(z.int().min(1)).max(MAX_RANK);
const fillSchema = z.union([z.number(), z.string(), z.boolean(), z.null()]).default(null);
const v2Schema = z.object({
  zarr_format: z.literal(2),
  shape: shapeSchema,
  chunks: chunkSchema,
  dtype: z.unknown(),
  compressor: z.looseObject({ id: z.string() }).nullable(),
  fill_value: z.unknown(),
  order: z.enum(["C", "F"]),
  filters: z.array(z.unknown()).nullable().default(null),
  dimension_separator: z.enum([".", "/"]).default("."),
});

const v3Schema = z.object({
  zarr_format: z.literal(3),
  node_type: z.literal("array"),
  shape: shapeSchema,
  data_type: z.unknown(),
  chunk_grid: z.object({
    name: z.literal("regular"),
    configuration: z.object({ chunk_shape: chunkSchema }),
  }),
  chunk_key_encoding: z.object({
    name: z.enum(["default", "v2"]),
    configuration: z.object({ separator: z.enum([".", "/"]).optional() }).default({}),
  }),
  codecs: z.unknown(),
  fill_value: z.unknown(),
});

const V2_DTYPES: Readonly<Record<string, StoredDtype>> = {
  "<f4": "F32",
  ">f4": "F32",
  "<f2": "F16",
  ">f2": "F16",
  bfloat16: "BF16",
  "|V2": "BF16",
  "<V2": "BF16",
};
const V3_DTYPES: Readonly<Record<string, StoredDtype>> = {
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
};

function parseFill(value: unknown, dtype: StoredDtype): number | undefined {
  const parsed = fillSchema.safeParse(value);
  if (!parsed.success || typeof parsed.data === "boolean") return undefined;
  if (parsed.data === null) return 0;
  if (typeof parsed.data === "number") return parsed.data;
  const named: Readonly<Record<string, number>> = {
    NaN,
    Infinity,
    "-Infinity": -Infinity,
  };
  if (Object.hasOwn(named, parsed.data)) return named[parsed.data];
  if (!/^0x[0-9a-f]{4}([0-9a-f]{4})?$/i.test(parsed.data)) return undefined;
  const bits = Number(parsed.data);
  if (dtype === "F16") return new Float16Array(Uint16Array.of(bits).buffer)[0];
  return new Float32Array(Uint32Array.of(dtype === "F32" ? bits : bits << 16).buffer)[0];
}

/** Everything after the version's own syntax. */
interface Description {
  readonly shape: readonly number[];
  readonly chunkShape: readonly number[];
  readonly dtype: StoredDtype;
  readonly fillValue: unknown;
  readonly layout: Layout | string;
  readonly keyEncoding: ZarrArray["keyEncoding"];
}

function check(description: Description, refuse: (reason: string) => CheckpointError): ZarrArray {
  const { shape, chunkShape, dtype, fillValue, layout, keyEncoding } = description;
  if (chunkShape.length !== shape.length) {
    throw refuse(`its shape has ${shape.length} axes, its chunks have ${chunkShape.length}`);
  }
  const chunks = elementCount(shape.map((size, i) => Math.ceil(size / chunkShape[i])));
  if (chunks > MAX_CHUNKS) throw refuse(`it has ${chunks} chunks, the limit is ${MAX_CHUNKS}`);
  if (!Number.isSafeInteger(elementCount(shape) * Float32Array.BYTES_PER_ELEMENT)) {
    throw refuse(`its shape [${shape.join(", ")}] is beyond any memory`);
  }
  if (typeof layout === "string") throw refuse(`its codec is ${layout}, which is not read`);
  const fill = parseFill(fillValue, dtype);
  if (fill === undefined) throw refuse(`its fill_value is ${JSON.stringify(fillValue)}`);
  const pieceBytes = elementCount(layout.pieceShape) * BYTES_PER_NUMBER[dtype];
  const shardPieces = elementCount(chunkShape) / elementCount(layout.pieceShape);
  if (
    !Number.isSafeInteger(elementCount(chunkShape)) || shardPieces > MAX_CHUNKS ||
    (layout.streaming === undefined && pieceBytes > MAX_PIECE_BYTES)
  ) {
    throw refuse(`its chunks of [${chunkShape.join(", ")}] are too large to be decoded`);
  }
  return { shape, chunkShape, dtype, fill, keyEncoding, ...layout };
}

function parseV2(json: unknown, refuse: (reason: string) => CheckpointError): ParsedArray {
  const parsed = v2Schema.safeParse(json);
  if (!parsed.success) throw refuse(describe(parsed.error));
  const { shape, chunks, dtype, compressor, filters, order } = parsed.data;
  const stored = typeof dtype === "string" && Object.hasOwn(V2_DTYPES, dtype)
    ? V2_DTYPES[dtype]
    : undefined;
  if (stored === undefined) return skipped(dtype);
  if (filters !== null && filters.length > 0) throw refuse("it has filters, which are not read");
  const { id, ...configuration } = compressor ?? { id: undefined };
  const codecs: Codec[] = [{
    name: "bytes",
    configuration: { endian: String(dtype).startsWith(">") ? "big" : "little" },
  }];
  if (order === "F" && shape.length > 1) {
    const reversed = shape.map((_, i) => shape.length - 1 - i);
    codecs.unshift({ name: "transpose", configuration: { order: reversed } });
  }
  if (id !== undefined) codecs.push({ name: id, configuration });
  const array = check({
    shape,
    chunkShape: chunks,
    dtype: stored,
    fillValue: parsed.data.fill_value,
    layout: arrayLayout(codecs, chunks),
    keyEncoding: { name: "v2", separator: parsed.data.dimension_separator },
  }, refuse);
  return { kind: "array", array };
}

function parseV3(json: unknown, refuse: (reason: string) => CheckpointError): ParsedArray {
  const parsed = v3Schema.safeParse(json);
  if (!parsed.success) throw refuse(describe(parsed.error));
  const { shape, data_type: dtype, codecs, chunk_grid, chunk_key_encoding } = parsed.data;
  const stored = typeof dtype === "string" && Object.hasOwn(V3_DTYPES, dtype)
    ? V3_DTYPES[dtype]
    : undefined;
  if (stored === undefined) return skipped(dtype);
  const { chunk_shape: chunkShape } = chunk_grid.configuration;
  const { name, configuration } = chunk_key_encoding;
  const array = check({
    shape,
    chunkShape,
    dtype: stored,
    fillValue: parsed.data.fill_value,
    layout: shardedLayout(codecs, chunkShape),
    keyEncoding: { name, separator: configuration.separator ?? (name === "v2" ? "." : "/") },
  }, refuse);
  return { kind: "array", array };
}

function skipped(dtype: unknown): ParsedArray {
  return {
    kind: "skipped",
    reason: `its dtype is ${JSON.stringify(dtype)}, not a float that is read`,
  };
}

function describe({ issues: [issue] }: z.ZodError): string {
  return `its ${issue.path.join(".") || "content"} is not what zarr allows (${issue.message})`;
}

/**
 * Parse the description of an array.
 *
 * @param bytes Content of `.zarray` or `zarr.json`.
 * @param version Which of them: 2 or 3.
 * @param place Where it lies, for errors.
 * @returns The array; a group, which holds no numbers; or why the array cannot hold weights.
 * @throws {CheckpointError} When it is malformed, too large or uses a codec that is not read.
 */
export function parseZarrMetadata(bytes: Uint8Array, version: 2 | 3, place: string): ParsedArray {
  const refuse = (reason: string, cause?: unknown) =>
    new CheckpointError(`Cannot read the zarr array described by ${place}: ${reason}.`, { cause });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw refuse("it is not JSON; the checkpoint is damaged", cause);
  }
  if (version === 2) return parseV2(json, refuse);
  if ((json as { node_type?: unknown } | null)?.node_type === "group") return { kind: "group" };
  return parseV3(json, refuse);
}

/**
 * Key of a chunk below its array.
 *
 * @param array The array.
 * @param position Index of the chunk along each axis.
 */
export function chunkKey(
  { keyEncoding: { name, separator } }: ZarrArray,
  position: readonly number[],
): string {
  if (name === "default") return ["c", ...position].join(separator);
  return position.join(separator) || "0";
}

/**
 * The header of a safetensors file: names, formats, shapes and places of tensors.
 *
 * A file is an 8-byte little-endian length, a JSON header of that length, and the tensors' bytes
 * one after the other (format: huggingface/safetensors). Everything a header claims is checked
 * against the size of the file before a reader allocates for it.
 *
 * @module
 */

import { z } from "zod";
import { BYTES_PER_NUMBER, READABLE_DTYPES, type ReadableDtype } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";

/** Bytes of the length in front of the header. */
export const LENGTH_BYTES = 8;

/** Largest header that is read: the limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

const METADATA_KEY = "__metadata__";

/** Where one tensor lies. */
export interface TensorEntry {
  /** Its name. */
  readonly name: string;
  /** Format of its numbers. */
  readonly dtype: ReadableDtype;
  /** Dimensions; none for a scalar. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly start: number;
  /** How many bytes. */
  readonly byteLength: number;
}

/** A tensor whose numbers cannot be read, such as a counter. */
export interface SkippedEntry {
  /** Its name. */
  readonly name: string;
  /** Format of its numbers, as the file has it. */
  readonly dtype: string;
}

/** What a header says. */
export interface SafetensorsHeader {
  /** The tensors by their place in the file. */
  readonly entries: readonly TensorEntry[];
  /** Tensors of formats that are not read; always empty unless they were allowed. */
  readonly skipped: readonly SkippedEntry[];
  /** Free text that the writer left. */
  readonly metadata: Readonly<Record<string, string>>;
}

const size = z.int().min(0);
const entrySchema = z.object({
  dtype: z.enum(READABLE_DTYPES),
  shape: z.array(size),
  data_offsets: z.tuple([size, size]),
});
const skippedSchema = z.object({ dtype: z.string(), data_offsets: z.tuple([size, size]) });
const metadataSchema = z.record(z.string(), z.string());

/**
 * Count the numbers of a tensor.
 *
 * @param shape Dimensions.
 * @returns Their product; 1 for a scalar.
 */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/**
 * Read the length of the header and check it.
 *
 * @param prefix The first 8 bytes of the file, or as many as it has.
 * @param fileBytes Size of the file.
 * @param path Name of the file, for errors.
 * @returns Bytes of the header.
 * @throws {CheckpointError} When the file is too short for it or the length is beyond the limit.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number, path: string): number {
  if (prefix.length < LENGTH_BYTES) {
    throw new CheckpointError(
      `Cannot read ${path}: it is truncated, ${fileBytes} bytes found where at least ` +
        `${LENGTH_BYTES} are expected; copy it again or use another checkpoint.`,
    );
  }
  const length = Number(
    new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true),
  );
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(
      `Cannot read ${path}: its header claims ${length} bytes, the limit is ${MAX_HEADER_BYTES}; ` +
        `it is not a safetensors file or is damaged.`,
    );
  }
  if (LENGTH_BYTES + length > fileBytes) {
    throw new CheckpointError(
      `Cannot read ${path}: it is truncated, ${fileBytes} bytes found where at least ` +
        `${LENGTH_BYTES + length} are expected; copy it again or use another checkpoint.`,
    );
  }
  return length;
}

function parseObject(json: Uint8Array, path: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (cause) {
    throw new CheckpointError(
      `Cannot read ${path}: its header is not JSON; it is not a safetensors file or is damaged.`,
      { cause },
    );
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new CheckpointError(`Cannot read ${path}: its header is not a JSON object.`);
  }
  return header as Record<string, unknown>;
}

function parseEntry(name: string, value: unknown, dataStart: number, path: string): TensorEntry {
  const refuse = (reason: string) =>
    new CheckpointError(`Cannot read ${path}: tensor ${JSON.stringify(name)} ${reason}.`);
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) {
    const { dtype } = (value ?? {}) as { dtype?: unknown };
    const isDtypeWrong = parsed.error.issues.some((issue) => issue.path[0] === "dtype");
    throw refuse(
      isDtypeWrong
        ? `has dtype ${JSON.stringify(dtype)}, but only ${READABLE_DTYPES.join(", ")} are read`
        : "has no valid shape and data_offsets in the header",
    );
  }
  const { dtype, shape, data_offsets: [start, end] } = parsed.data;
  const expected = elementCount(shape) * BYTES_PER_NUMBER[dtype];
  if (end - start !== expected) {
    throw refuse(
      `spans ${end - start} bytes, but shape [${shape.join(", ")}] of ${dtype} takes ${expected}`,
    );
  }
  return { name, dtype, shape, start: dataStart + start, byteLength: end - start };
}

/** A span of the file: all that a tensor of unreadable numbers is checked for. */
interface Span {
  readonly name: string;
  readonly start: number;
  readonly byteLength: number;
}

/** Where a tensor lies whose numbers are not read; undefined when they are, or it is malformed. */
function parseSkipped(name: string, value: unknown, dataStart: number) {
  const parsed = skippedSchema.safeParse(value);
  if (!parsed.success || READABLE_DTYPES.some((dtype) => dtype === parsed.data.dtype)) {
    return undefined;
  }
  const { dtype, data_offsets: [start, end] } = parsed.data;
  return { name, dtype, start: dataStart + start, byteLength: end - start };
}

/**
 * Parse a header and check that its tensors fill the rest of the file without gap or overlap.
 *
 * @param json The header's bytes.
 * @param fileBytes Size of the whole file.
 * @param path Name of the file, for errors.
 * @param allowsUnreadable Whether tensors of other number formats are listed apart instead of being
 *   an error.
 * @returns The tensors by their place in the file, and the writer's text.
 * @throws {CheckpointError} One sentence that names the tensor and what is wrong with it.
 */
export function parseHeader(
  json: Uint8Array,
  fileBytes: number,
  path: string,
  allowsUnreadable = false,
): SafetensorsHeader {
  const { [METADATA_KEY]: rawMetadata = {}, ...tensors } = parseObject(json, path);
  const metadata = metadataSchema.safeParse(rawMetadata);
  if (!metadata.success) {
    throw new CheckpointError(`Cannot read ${path}: its ${METADATA_KEY} is not a table of texts.`);
  }
  const dataStart = LENGTH_BYTES + json.length;
  const byPlace = (a: Span, b: Span) => a.start - b.start || a.byteLength - b.byteLength;
  const entries: TensorEntry[] = [];
  const unreadable: (Span & SkippedEntry)[] = [];
  for (const [name, value] of Object.entries(tensors)) {
    const skipped = allowsUnreadable ? parseSkipped(name, value, dataStart) : undefined;
    if (skipped === undefined) entries.push(parseEntry(name, value, dataStart, path));
    else unreadable.push(skipped);
  }
  entries.sort(byPlace);
  let end = dataStart;
  for (const entry of [...entries, ...unreadable].sort(byPlace)) {
    if (entry.start !== end || entry.byteLength < 0) {
      throw new CheckpointError(
        `Cannot read ${path}: tensor ${
          JSON.stringify(entry.name)
        } starts at byte ${entry.start}, ` +
          `but the tensor before it ends at ${end}; tensors must neither overlap nor leave gaps.`,
      );
    }
    end += entry.byteLength;
  }
  if (end !== fileBytes) {
    const kind = end > fileBytes ? "is truncated" : "has bytes that belong to no tensor";
    throw new CheckpointError(
      `Cannot read ${path}: it ${kind}, ${end} bytes expected and ${fileBytes} found; ` +
        `copy it again or use another checkpoint.`,
    );
  }
  return {
    entries,
    skipped: unreadable.map(({ name, dtype }) => ({ name, dtype })),
    metadata: metadata.data,
  };
}

/**
 * Build the start of a file: length and header, padded so that the tensors start at a multiple of 8.
 *
 * @param tensors Names, formats and shapes in the order in which their bytes will follow.
 * @param metadata Free text to store.
 * @returns The bytes in front of the first tensor.
 * @throws {RangeError} When a name appears twice or is reserved, or the header is too large.
 */
export function buildHeader(
  tensors: readonly Pick<TensorEntry, "name" | "dtype" | "shape">[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const header = new Map<string, unknown>();
  if (Object.keys(metadata).length > 0) header.set(METADATA_KEY, metadata);
  let end = 0;
  for (const { name, dtype, shape } of tensors) {
    if (header.has(name) || name === METADATA_KEY) {
      throw new RangeError(`Cannot store tensor ${JSON.stringify(name)}: the name is taken`);
    }
    const start = end;
    end += elementCount(shape) * BYTES_PER_NUMBER[dtype];
    header.set(name, { dtype, shape, data_offsets: [start, end] });
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const paddedLength = Math.ceil(json.length / LENGTH_BYTES) * LENGTH_BYTES;
  if (paddedLength > MAX_HEADER_BYTES) {
    throw new RangeError(
      `Cannot store ${tensors.length} tensors: the header takes ${paddedLength} bytes, the limit is ` +
        `${MAX_HEADER_BYTES}`,
    );
  }
  const bytes = new Uint8Array(LENGTH_BYTES + paddedLength).fill(0x20); // the format pads with spaces
  new DataView(bytes.buffer).setBigUint64(0, BigInt(paddedLength), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}

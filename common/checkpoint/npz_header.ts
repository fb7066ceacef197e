/**
 * The header of a `.npy` file: number format, order and shape in front of the numbers (format:
 * NumPy, `numpy.lib.format`, versions 1.0, 2.0 and 3.0).
 *
 * @module
 */

import type { StoredDtype } from "./tensor_source.ts";

/** Bytes in front of the header's text when its length takes two bytes (version 1) or four. */
const PREFIX_BYTES = { 1: 10, 2: 12, 3: 12 } as const;

/** Longest header that is read; NumPy itself refuses more than 10,000 characters. */
const MAX_HEADER_BYTES = 1 << 16;

/** First bytes of every file. */
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** NumPy and zarr stop at 32 axes (64 since NumPy 2). */
const MAX_RANK = 64;

/** bfloat16 is no type of NumPy: its bytes are saved as an opaque item of two bytes. */
const DTYPES: Readonly<Record<string, StoredDtype>> = {
  "<f4": "F32",
  "<f2": "F16",
  "|V2": "BF16",
  "<V2": "BF16",
};

/** What a header says. */
export interface NpyHeader {
  /** Number format; undefined when it is not one that is read. */
  readonly dtype: StoredDtype | undefined;
  /** Number format as the file has it. */
  readonly descr: string;
  /** Whether the first index runs fastest. */
  readonly isFortranOrder: boolean;
  /** Shape. */
  readonly shape: readonly number[];
  /** Bytes in front of the numbers. */
  readonly byteLength: number;
}

/** Bytes that suffice to tell how long a header is. */
export const NPY_PREFIX_BYTES = 12;

/**
 * Length of a header with everything in front of it.
 *
 * @param prefix The first bytes of the file, at least {@link NPY_PREFIX_BYTES} when it has them.
 * @throws {SyntaxError} When it is no `.npy` file, of an unknown version or too long.
 */
export function npyHeaderBytes(prefix: Uint8Array): number {
  if (prefix.length < NPY_PREFIX_BYTES || MAGIC.some((byte, i) => prefix[i] !== byte)) {
    throw new SyntaxError("it does not begin as an .npy file does");
  }
  const version = prefix[6];
  if ((version !== 1 && version !== 2 && version !== 3) || prefix[7] !== 0) {
    throw new SyntaxError(`its .npy version is ${version}.${prefix[7]}, only 1.0 to 3.0 are read`);
  }
  const view = new DataView(prefix.buffer, prefix.byteOffset);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER_BYTES) {
    throw new SyntaxError(
      `its .npy header claims ${length} bytes, the limit is ${MAX_HEADER_BYTES}`,
    );
  }
  return PREFIX_BYTES[version] + length;
}

// A Python dict of exactly these three keys in any order, a comma after the last one allowed.
const ENTRY =
  /\s*'(descr|fortran_order|shape)'\s*:\s*('[^'\\]*'|True|False|\([\d\s,]*\)|\[[^\]]*\])\s*(,|(?=\}))/y;

function parseShape(text: string): number[] | undefined {
  // (), (3,), (3, 4): a comma behind a single number, one at most behind several.
  if (!/^\(\s*(\d+\s*,\s*)*(\d+\s*)?\)$/.test(text) || /^\(\s*\d+\s*\)$/.test(text)) {
    return undefined;
  }
  const shape = [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits));
  const isValid = shape.length <= MAX_RANK && shape.every(Number.isSafeInteger);
  return isValid ? shape : undefined;
}

/**
 * Parse a header.
 *
 * @param bytes The first {@link npyHeaderBytes} of the file.
 * @throws {SyntaxError} When it is malformed. The message goes on from "it".
 */
export function parseNpyHeader(bytes: Uint8Array): NpyHeader {
  const version = bytes[6] as keyof typeof PREFIX_BYTES;
  const text = new TextDecoder(version === 3 ? "utf-8" : "latin1")
    .decode(bytes.subarray(PREFIX_BYTES[version])).trim();
  const malformed = () =>
    new SyntaxError(`its .npy header ${JSON.stringify(text.slice(0, 120))} is malformed`);
  if (!text.startsWith("{") || !text.endsWith("}")) throw malformed();
  const fields = new Map<string, string>();
  ENTRY.lastIndex = 1;
  let end = 1;
  for (let match = ENTRY.exec(text); match !== null; match = ENTRY.exec(text)) {
    if (fields.has(match[1])) throw malformed();
    fields.set(match[1], match[2]);
    end = ENTRY.lastIndex;
  }
  const [descr, order, shapeText] = ["descr", "fortran_order", "shape"].map((key) =>
    fields.get(key)
  );
  const shape = shapeText === undefined ? undefined : parseShape(shapeText);
  if (
    text.slice(end).trim() !== "}" || descr === undefined || !/^['[]/.test(descr) ||
    (order !== "True" && order !== "False") || shape === undefined
  ) {
    throw malformed();
  }
  const format = descr.startsWith("'") ? descr.slice(1, -1) : descr;
  return {
    dtype: Object.hasOwn(DTYPES, format) ? DTYPES[format] : undefined,
    descr: format,
    isFortranOrder: order === "True",
    shape,
    byteLength: bytes.length,
  };
}

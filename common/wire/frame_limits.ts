/**
 * Walks a MessagePack document without allocating anything for it.
 *
 * The decoder allocates an array as soon as it has read the array's header, so a few bytes that
 * promise four thousand million elements, or many nested promises, would exhaust the memory. This
 * walk happens first: it counts the values, bounds the depth and makes sure that every promised byte
 * is there. Format: https://github.com/msgpack/msgpack/blob/master/spec.md
 *
 * @module
 */
import { WireError } from "./wire_error.ts";

/** Bounds on a document. */
export interface StructureLimits {
  /** Containers that may lie inside each other. */
  readonly maxDepth: number;
  /** Values in all, keys of maps included. */
  readonly maxValues: number;
}

/** Far above what any message needs: the deepest has 6 levels. */
export const DEFAULT_STRUCTURE_LIMITS: StructureLimits = { maxDepth: 12, maxValues: 200_000 };

/**
 * Check that bytes are exactly one MessagePack document within bounds.
 * @param bytes The document.
 * @param limits Bounds on depth and number of values.
 * @throws {WireError} If it is truncated, has bytes left over, or breaks a bound.
 */
export function checkStructure(
  bytes: Uint8Array,
  limits: StructureLimits = DEFAULT_STRUCTURE_LIMITS,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // pending[d] values are still to come at depth d.
  const pending = new Float64Array(limits.maxDepth + 1);
  pending[0] = 1;
  let depth = 0;
  let promised = 1;
  let position = 0;
  while (depth >= 0) {
    if (pending[depth] === 0) {
      depth--;
      continue;
    }
    pending[depth]--;
    const header = readHeader(view, position);
    position = header.bodyStart + header.bodyBytes;
    if (position > bytes.length) throw truncated(bytes.length);
    if (header.children === 0) continue;
    promised += header.children;
    if (promised > limits.maxValues) {
      throw new WireError(
        "malformed",
        `Cannot read frame: it promises ${promised} values, the limit is ${limits.maxValues}`,
      );
    }
    depth++;
    if (depth > limits.maxDepth) {
      throw new WireError(
        "malformed",
        `Cannot read frame: it is nested deeper than ${limits.maxDepth} levels`,
      );
    }
    pending[depth] = header.children;
  }
  if (position !== bytes.length) {
    throw new WireError(
      "malformed",
      `Cannot read frame: ${bytes.length - position} bytes are left over after the message`,
    );
  }
}

interface Header {
  bodyStart: number;
  /** Bytes of a scalar, string, binary or extension after its header. */
  bodyBytes: number;
  /** Values inside a container: twice the entries for a map. */
  children: number;
}

function readHeader(view: DataView, at: number): Header {
  const head = readLength(view, at, 1);
  if (head <= 0x7f || head >= 0xe0) return { bodyStart: at + 1, bodyBytes: 0, children: 0 };
  if (head <= 0x8f) return { bodyStart: at + 1, bodyBytes: 0, children: 2 * (head & 0x0f) };
  if (head <= 0x9f) return { bodyStart: at + 1, bodyBytes: 0, children: head & 0x0f };
  if (head <= 0xbf) return { bodyStart: at + 1, bodyBytes: head & 0x1f, children: 0 };
  const form = FORMS[head - 0xc0];
  if (form === null) {
    throw new WireError("malformed", "Cannot read frame: byte 0xc1 is not valid MessagePack");
  }
  const length = form.lengthBytes === 0 ? 0 : readLength(view, at + 1, form.lengthBytes);
  const bodyStart = at + 1 + form.lengthBytes;
  return form.childrenPerEntry > 0
    ? { bodyStart, bodyBytes: 0, children: length * form.childrenPerEntry }
    : { bodyStart, bodyBytes: form.fixedBytes + length, children: 0 };
}

function readLength(view: DataView, at: number, bytes: number): number {
  if (at + bytes > view.byteLength) throw truncated(view.byteLength);
  return bytes === 1 ? view.getUint8(at) : bytes === 2 ? view.getUint16(at) : view.getUint32(at);
}

function truncated(length: number): WireError {
  return new WireError("malformed", `Cannot read frame: it is cut short after ${length} bytes`);
}

interface Form {
  readonly lengthBytes: number;
  readonly fixedBytes: number;
  readonly childrenPerEntry: number;
}

function body(lengthBytes: number, fixedBytes: number): Form {
  return { lengthBytes, fixedBytes, childrenPerEntry: 0 };
}

function container(lengthBytes: number, childrenPerEntry: number): Form {
  return { lengthBytes, fixedBytes: 0, childrenPerEntry };
}

/** What follows the head bytes 0xc0…0xdf, in the order of the specification's table. */
const FORMS: readonly (Form | null)[] = [
  body(0, 0), // nil
  null, // never used
  body(0, 0), // false
  body(0, 0), // true
  body(1, 0), // bin 8, 16, 32
  body(2, 0),
  body(4, 0),
  body(1, 1), // ext 8, 16, 32: one byte of type besides the payload
  body(2, 1),
  body(4, 1),
  body(0, 4), // float 32, 64
  body(0, 8),
  body(0, 1), // uint 8, 16, 32, 64
  body(0, 2),
  body(0, 4),
  body(0, 8),
  body(0, 1), // int 8, 16, 32, 64
  body(0, 2),
  body(0, 4),
  body(0, 8),
  body(0, 2), // fixext 1, 2, 4, 8, 16
  body(0, 3),
  body(0, 5),
  body(0, 9),
  body(0, 17),
  body(1, 0), // str 8, 16, 32
  body(2, 0),
  body(4, 0),
  container(2, 1), // array 16, 32
  container(4, 1),
  container(2, 2), // map 16, 32
  container(4, 2),
];

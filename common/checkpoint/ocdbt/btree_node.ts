/**
 * One node of an OCDBT B+tree: keys with shared prefixes, and values or children.
 *
 * @module
 */

import type { ByteReader } from "./byte_reader.ts";
import { type DataReference, readDataFiles, readFileIds, readReferences } from "./data_files.ts";
import { openEnvelope } from "./envelope.ts";

/** Most entries of a node, from the format. */
const MAX_ENTRIES = 1 << 20;

/** Longest key, from the format. */
const MAX_KEY_BYTES = 65535;

/** A key and its value. */
export interface LeafEntry {
  /** The key without the prefix that the path to the node gives. */
  readonly key: Uint8Array;
  /** The value itself, or where it lies. */
  readonly value: Uint8Array<ArrayBuffer> | DataReference;
}

/** A child node. */
export interface ChildEntry {
  /** Its first key, without the prefix that the path to the node gives. */
  readonly key: Uint8Array;
  /** Bytes of `key` that all keys below the child share and do not repeat. */
  readonly prefixLength: number;
  /** Where it lies. */
  readonly node: DataReference;
}

/** What a node holds, and its size after decompression. */
export type TreeNode =
  & { readonly bodyBytes: number }
  & (
    | { readonly kind: "leaf"; readonly entries: readonly LeafEntry[] }
    | { readonly kind: "interior"; readonly entries: readonly ChildEntry[] }
  );

interface KeyColumns {
  readonly keys: readonly Uint8Array[];
  readonly prefixLengths: readonly number[];
}

function readKeys(reader: ByteReader, count: number, hasSubtreePrefix: boolean): KeyColumns {
  const shared = [0, ...reader.varints(count - 1)];
  const suffixLengths = reader.varints(count);
  const prefixLengths = hasSubtreePrefix ? reader.varints(count) : [];
  const keys: Uint8Array[] = [];
  let previous = new Uint8Array(0);
  for (let i = 0; i < count; i++) {
    const length = shared[i] + suffixLengths[i];
    if (
      shared[i] > previous.length || length > MAX_KEY_BYTES || (prefixLengths[i] ?? 0) > length
    ) {
      throw reader.damaged(`key ${i} has impossible lengths`);
    }
    const key = new Uint8Array(length);
    key.set(previous.subarray(0, shared[i]));
    key.set(reader.bytes(suffixLengths[i]), shared[i]);
    keys.push(key);
    previous = key;
  }
  return { keys, prefixLengths };
}

function readLeaf(
  reader: ByteReader,
  files: ReturnType<typeof readDataFiles>,
  count: number,
): LeafEntry[] {
  const { keys } = readKeys(reader, count, false);
  const lengths = reader.varints(count);
  const kinds = reader.bytes(count);
  const unknown = kinds.find((kind) => kind > 1);
  if (unknown !== undefined) throw reader.damaged(`a value is of kind ${unknown}, not 0 or 1`);
  const indirectCount = kinds.reduce((sum, kind) => sum + kind, 0);
  const ids = readFileIds(reader, files, indirectCount);
  const offsets = reader.varints(indirectCount);
  let indirect = 0;
  return keys.map((key, i) => {
    const length = lengths[i];
    if (kinds[i] === 0) return { key, value: reader.bytes(length) };
    return { key, value: { file: ids[indirect], offset: offsets[indirect++], length } };
  });
}

function readInterior(
  reader: ByteReader,
  files: ReturnType<typeof readDataFiles>,
  count: number,
): ChildEntry[] {
  const { keys, prefixLengths } = readKeys(reader, count, true);
  const nodes = readReferences(reader, files, count);
  reader.varints(3 * count); // statistics: keys, bytes of nodes, bytes of values
  return keys.map((key, i) => ({ key, prefixLength: prefixLengths[i], node: nodes[i] }));
}

/**
 * Decode a node.
 *
 * @param bytes All of it.
 * @param height Height that its parent claims; 0 is a leaf.
 * @param base Base path of the file that it lies in.
 * @param file That file, for errors.
 * @param offset Its first byte there, for errors.
 * @throws {CheckpointError} When it is damaged or of another height, as in a tree with a cycle.
 */
export function decodeTreeNode(
  bytes: Uint8Array<ArrayBuffer>,
  height: number,
  base: string,
  file: string,
  offset: number,
): TreeNode {
  const reader = openEnvelope(bytes, "B+tree node", file, offset);
  const bodyBytes = reader.remaining;
  const ownHeight = reader.uint8();
  if (ownHeight !== height) {
    throw reader.damaged(`its height is ${ownHeight}, but what points to it says ${height}`);
  }
  const files = readDataFiles(reader, base);
  const count = reader.count("entries", MAX_ENTRIES);
  if (count === 0) throw reader.damaged("it has no entry");
  const node: TreeNode = height === 0
    ? { kind: "leaf", bodyBytes, entries: readLeaf(reader, files, count) }
    : { kind: "interior", bodyBytes, entries: readInterior(reader, files, count) };
  reader.end();
  return node;
}

/**
 * The manifest of an OCDBT database: its configuration and where the newest B+tree begins.
 *
 * A database keeps older generations too: the last few in the manifest itself, the rest in version
 * tree nodes that the manifest points to. The newest one always stands in the manifest, so version
 * tree nodes are checked as references here and never opened.
 *
 * @module
 */

import type { ByteReader } from "./byte_reader.ts";
import { type DataReference, isMissing, readDataFiles, readReferences } from "./data_files.ts";
import { openEnvelope } from "./envelope.ts";

const UUID_BYTES = 16;
const COMMIT_TIME_BYTES = 8;

/** Bound that the format sets: a height times this must stay below 64. */
const MAX_ARITY_LOG2 = 16;

/** The newest generation. */
export interface TreeRoot {
  /** Where its root node lies; undefined when the database is empty. */
  readonly node: DataReference | undefined;
  /** Height of the root node; 0 is a leaf. */
  readonly height: number;
}

/** Read the configuration and return the arity of the version tree. */
function readConfig(reader: ByteReader): number {
  reader.bytes(UUID_BYTES);
  const kind = reader.uint8();
  if (kind !== 0) {
    throw reader.damaged(
      `its kind is ${kind}, only 0 (a single manifest, as Orbax writes it) is read`,
    );
  }
  reader.varints(2); // max_inline_value_bytes and max_decoded_node_bytes matter to writers alone
  const arityLog2 = reader.uint8();
  if (arityLog2 < 1 || arityLog2 > MAX_ARITY_LOG2) {
    throw reader.damaged(`its version_tree_arity_log2 is ${arityLog2}, not 1 to ${MAX_ARITY_LOG2}`);
  }
  const compression = reader.varint();
  if (compression > 1) throw reader.damaged(`its compression method is ${compression}, not 0 or 1`);
  if (compression === 1) reader.int32(); // zstd's level
  return 2 ** arityLog2;
}

function checkIncreasing(generations: readonly number[], reader: ByteReader): void {
  generations.forEach((generation, i) => {
    if (generation <= (generations[i - 1] ?? 0)) {
      throw reader.damaged(`generation ${generation} follows ${generations[i - 1] ?? 0}`);
    }
  });
}

/**
 * Decode a manifest.
 *
 * @param bytes The file.
 * @param file Its name, for errors.
 * @throws {CheckpointError} When it is truncated, damaged or of a version that is not read.
 */
export function decodeManifest(bytes: Uint8Array<ArrayBuffer>, file: string): TreeRoot {
  const reader = openEnvelope(bytes, "manifest", file, 0);
  const arity = readConfig(reader);
  const files = readDataFiles(reader, "");

  const count = reader.count("versions", arity);
  if (count === 0) throw reader.damaged("it has no version");
  checkIncreasing(reader.varints(count), reader);
  const heights = reader.bytes(count);
  const roots = readReferences(reader, files, count);
  reader.varints(3 * count); // statistics: keys, bytes of nodes, bytes of values
  reader.bytes(COMMIT_TIME_BYTES * count);

  const nodeCount = reader.count("version tree nodes", 64);
  checkIncreasing(reader.varints(nodeCount), reader);
  readReferences(reader, files, nodeCount);
  reader.varints(nodeCount); // generations below each
  reader.bytes(COMMIT_TIME_BYTES * nodeCount);
  reader.bytes(nodeCount); // heights
  reader.end();

  const node = roots[count - 1];
  return { node: isMissing(node) ? undefined : node, height: heights[count - 1] };
}

/**
 * An OCDBT database as a read-only key-value store.
 *
 * The whole B+tree is walked when it is opened, since checkpoints have few keys (two or more an
 * array). The walk ends soon on every input: a child's height is one less than its parent's, no
 * node may be met twice, and all nodes together have a bound.
 *
 * @module
 */

import { join } from "node:path";
import { CheckpointError } from "../errors.ts";
import { fileSize, readRange, readSmallFile, streamRange } from "../file_ranges.ts";
import type { KeyValueStore } from "../key_value_store.ts";
import { decodeTreeNode } from "./btree_node.ts";
import type { DataReference } from "./data_files.ts";
import { decodeManifest } from "./manifest.ts";

/** Name of the manifest, by which a database is recognised. */
export const MANIFEST_FILE = "manifest.ocdbt";

const MAX_MANIFEST_BYTES = 1 << 24;

/** Orbax allows 100 MB before compression; this is after it. */
const MAX_NODE_BYTES = 1 << 27;

/** Far above any checkpoint: full π0-FAST has a few hundred keys. */
const MAX_KEYS = 1_000_000;
const MAX_NODES = 100_000;
const MAX_TREE_BYTES = 2 ** 30;

type Value = Uint8Array<ArrayBuffer> | DataReference;

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  for (let i = 0; i < end; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

function concatenate(a: Uint8Array, b: Uint8Array): Uint8Array {
  const joined = new Uint8Array(a.length + b.length);
  joined.set(a);
  joined.set(b, a.length);
  return joined;
}

/** The walk over a tree: what has been found, and what bounds it. */
class TreeWalk {
  readonly values = new Map<string, Value>();
  readonly #root: string;
  readonly #fileSizes = new Map<string, number>();
  #previousKey: Uint8Array | undefined;
  readonly #visited = new Set<string>();
  #treeBytes = 0;

  constructor(root: string) {
    this.#root = root;
  }

  /** Check a reference against the size of its file. */
  async check({ file, offset, length }: DataReference, what: string): Promise<void> {
    const path = join(this.#root, file.path);
    let size = this.#fileSizes.get(path);
    if (size === undefined) this.#fileSizes.set(path, size = await fileSize(path));
    if (!(offset + length <= size)) {
      throw new CheckpointError(
        `Cannot read ${path}: ${what} is at bytes ${offset} to ${offset + length}, but the file ` +
          `ends at ${size}; it is truncated or damaged, copy it again.`,
      );
    }
  }

  /** Visit a node and everything below it, in the order of keys. */
  async visit(node: DataReference, height: number, prefix: Uint8Array): Promise<void> {
    const path = join(this.#root, node.file.path);
    const refuse = (reason: string) =>
      new CheckpointError(
        `Cannot read the B+tree node at byte ${node.offset} of ${path}: ${reason}; ` +
          `the checkpoint is damaged.`,
      );
    const place = `${node.offset} ${path}`;
    if (this.#visited.has(place)) throw refuse("the tree leads to it twice");
    this.#visited.add(place);
    if (this.#visited.size > MAX_NODES) throw refuse(`it is one of more than ${MAX_NODES} nodes`);
    if (node.length > MAX_NODE_BYTES) {
      throw refuse(`it claims ${node.length} bytes, the limit is ${MAX_NODE_BYTES}`);
    }
    await this.check(node, "a B+tree node");
    const bytes = await readRange(path, node.offset, node.length);
    const decoded = decodeTreeNode(bytes, height, node.file.base, path, node.offset);
    this.#treeBytes += decoded.bodyBytes;
    if (this.#treeBytes > MAX_TREE_BYTES) {
      throw refuse(
        `the nodes up to it have ${this.#treeBytes} bytes, the limit is ${MAX_TREE_BYTES}`,
      );
    }
    if (decoded.kind === "interior") {
      let previous: Uint8Array | undefined;
      for (const entry of decoded.entries) {
        if (previous !== undefined && compareBytes(previous, entry.key) >= 0) {
          throw refuse("its children are not in order");
        }
        previous = entry.key;
        const childPrefix = concatenate(prefix, entry.key.subarray(0, entry.prefixLength));
        await this.visit(entry.node, height - 1, childPrefix);
      }
      return;
    }
    for (const entry of decoded.entries) {
      const key = concatenate(prefix, entry.key);
      if (this.#previousKey !== undefined && compareBytes(this.#previousKey, key) >= 0) {
        throw refuse("its keys are not in order");
      }
      this.#previousKey = key;
      let name: string;
      try {
        name = new TextDecoder("utf-8", { fatal: true }).decode(key);
      } catch {
        throw refuse("a key is not UTF-8");
      }
      if (this.values.size >= MAX_KEYS) throw refuse(`there are more than ${MAX_KEYS} keys`);
      if (!(entry.value instanceof Uint8Array)) {
        await this.check(entry.value, `the value of ${JSON.stringify(name)}`);
      }
      this.values.set(name, entry.value);
    }
  }
}

/**
 * Open a database and walk its newest generation. Sub-stores that processes wrote
 * (`ocdbt.process_0/`) are reached through the paths in the tree.
 *
 * @param path Folder with the manifest.
 * @returns Its keys, each checked to lie inside its file. Values are not read.
 * @throws {CheckpointError} One sentence with the file and the offset or key: when a file is
 *   missing or truncated, a checksum fails, the tree is malformed, or a version is not known.
 */
export async function openOcdbtStore(path: string): Promise<KeyValueStore> {
  const manifestPath = join(path, MANIFEST_FILE);
  const manifest = decodeManifest(
    await readSmallFile(manifestPath, MAX_MANIFEST_BYTES),
    manifestPath,
  );
  const walk = new TreeWalk(path);
  if (manifest.node !== undefined) {
    await walk.visit(manifest.node, manifest.height, new Uint8Array(0));
  }
  const { values } = walk;
  const find = (key: string): Value => {
    const value = values.get(key);
    if (value === undefined) {
      throw new CheckpointError(`Cannot read ${path}: it has no key ${JSON.stringify(key)}.`);
    }
    return value;
  };
  return {
    path,
    sizes: new Map([...values].map(([key, value]) => [key, value.length])),
    place(key) {
      const value = values.get(key);
      if (value === undefined || value instanceof Uint8Array) {
        return `key ${JSON.stringify(key)} of ${manifestPath}`;
      }
      return `key ${JSON.stringify(key)} at byte ${value.offset} of ${join(path, value.file.path)}`;
    },
    async read(key, offset, length) {
      const value = find(key);
      if (value instanceof Uint8Array) return value.slice(offset, offset + length);
      return await readRange(join(path, value.file.path), value.offset + offset, length);
    },
    async *stream(key) {
      const value = find(key);
      if (value instanceof Uint8Array) yield value;
      else yield* streamRange(join(path, value.file.path), value.offset, value.length);
    },
  };
}

/**
 * Writes a checkpoint that Orbax restores, and so openpi's `restore_params`: zarr version 2 without
 * OCDBT, each parameter a folder `params.PaliGemma.…` of uncompressed chunks, with the tree in
 * `_METADATA`. Its folder is laid out as openpi lays out a training step:
 *
 * ```
 * <dir>/params/       the actor, as {"params": {"PaliGemma": …}}
 * <dir>/value_head/   the critic, if there is one: an item of its own, which openpi passes over
 * <dir>/assets/       norm statistics, tokenizers
 * ```
 *
 * @module
 */

import { join } from "node:path";
import { writeDirectory, writeDurably } from "./atomic_directory.ts";
import { type BlockTensor, checkCovered, writeShared } from "./block_writer.ts";
import type { WritableDtype } from "./dtype.ts";
import { isSafeRelativePath } from "./metadata.ts";
import { elementCount } from "./safetensors_header.ts";
import type { Box } from "./tensor_blocks.ts";

/** What {@link writeOrbaxCheckpoint} stores. */
export interface OrbaxContent {
  /** The actor's parameters under openpi's paths, such as `PaliGemma/llm/final_norm/scale`. */
  readonly actorBackbone: readonly BlockTensor[];
  /** The critic's parameters; absent when there is none. */
  readonly valueHead?: readonly BlockTensor[];
  /** Further files by their path below `assets/`; openpi looks for `<asset id>/norm_stats.json`. */
  readonly assets?: ReadonlyMap<string, Uint8Array>;
  /** Format of the stored parameters; F32 by default. */
  readonly dtype?: WritableDtype;
  /** Called before each tensor. */
  readonly onTensor?: (tensor: BlockTensor) => void;
}

/** The root that openpi gives its parameter tree (`restore_params` asks for it). */
const ROOT = "params";
/** Orbax's handler of trees, which its checkpointer looks for in `_CHECKPOINT_METADATA`. */
const HANDLER = "orbax.checkpoint._src.handlers.pytree_checkpoint_handler.PyTreeCheckpointHandler";
/** Orbax's code for the key of a dictionary. */
const DICTIONARY_KEY = 2;
/** Chunks have at most this many numbers, so that readers need not hold a large parameter twice. */
const MAX_CHUNK_NUMBERS = 1 << 24;
/** How zarr version 2 (and, for bfloat16, tensorstore) spells number formats. */
const ZARR_DTYPE: Readonly<Record<WritableDtype, string>> = {
  F32: "<f4",
  F16: "<f2",
  BF16: "bfloat16",
};

/** Chunks that divide a shape evenly: leading axes are cut until a chunk is small enough. */
function chunkShape(shape: readonly number[]): number[] {
  const chunk = [...shape];
  for (let axis = 0; axis < chunk.length; axis++) {
    const parts = Math.ceil(elementCount(chunk) / MAX_CHUNK_NUMBERS);
    if (parts <= 1) break;
    let divisor = Math.min(parts, chunk[axis]);
    while (chunk[axis] % divisor !== 0) divisor++;
    chunk[axis] /= divisor;
  }
  return chunk;
}

/** Chunks that a block touches, as boxes with their place in the grid. */
function* chunksOf(block: Box, chunk: readonly number[]): Generator<Box & { key: string }> {
  const first = block.origin.map((o, axis) => Math.floor(o / chunk[axis]));
  const last = block.origin.map((o, axis) => Math.floor((o + block.shape[axis] - 1) / chunk[axis]));
  const at = [...first];
  while (true) {
    yield { key: at.join("."), origin: at.map((i, axis) => i * chunk[axis]), shape: chunk };
    let axis = at.length - 1;
    while (axis >= 0 && at[axis] === last[axis]) at[axis] = first[axis--];
    if (axis < 0) return;
    at[axis]++;
  }
}

/** One open chunk at a time: blocks mostly come in the order of chunks. */
class ChunkFiles implements AsyncDisposable {
  readonly #folder: string;
  #key: string | undefined;
  #file: Deno.FsFile | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async open(key: string): Promise<Deno.FsFile> {
    if (this.#file !== undefined && this.#key === key) return this.#file;
    await this.#close();
    this.#key = key;
    return this.#file = await Deno.open(join(this.#folder, key), { write: true, create: true });
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    try {
      await file.sync();
    } finally {
      file.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close();
  }
}

async function writeArray(
  folder: string,
  tensor: BlockTensor,
  dtype: WritableDtype,
): Promise<void> {
  const { shape } = tensor;
  const chunks = chunkShape(shape);
  await writeDurably(
    join(folder, ".zarray"),
    new TextEncoder().encode(JSON.stringify({
      chunks: shape.length === 0 ? [] : chunks,
      compressor: null,
      dimension_separator: ".",
      dtype: ZARR_DTYPE[dtype],
      fill_value: null,
      filters: null,
      order: "C",
      shape,
      zarr_format: 2,
    })),
  );
  await using files = new ChunkFiles(folder);
  let written = 0;
  for await (const block of tensor.blocks()) {
    if (shape.length === 0) {
      const file = await files.open("0");
      written += await writeShared(file, 0, { origin: [], shape: [] }, block, dtype);
      continue;
    }
    for (const chunk of chunksOf(block, chunks)) {
      written += await writeShared(await files.open(chunk.key), 0, chunk, block, dtype);
    }
  }
  checkCovered(tensor, written);
}

/** A tuple of texts as Python writes it: Orbax reads the keys of `_METADATA` as Python. */
function pythonTuple(keys: readonly string[]): string {
  return `(${keys.map((key) => `'${key.replace(/['\\]/g, "\\$&")}'`).join(", ")},)`
    .replace(/,\)$/, keys.length === 1 ? ",)" : ")");
}

function treeMetadata(paths: readonly (readonly string[])[]): object {
  return {
    tree_metadata: Object.fromEntries(paths.map((keys) => [pythonTuple(keys), {
      key_metadata: keys.map((key) => ({ key, key_type: DICTIONARY_KEY })),
      value_metadata: { value_type: "np.ndarray", skip_deserialize: false },
    }])),
    use_zarr3: false,
    store_array_data_equal_to_fill_value: true,
    custom_metadata: null,
  };
}

/** `_CHECKPOINT_METADATA`: without it Orbax takes a folder for one that was never finished. */
function checkpointMetadata(handlers: string | Readonly<Record<string, string>>, nowMs: number) {
  // Nanoseconds since 1970 are beyond 2^53: they are put together as text.
  const nanoseconds = `${nowMs}000000`;
  const text = JSON.stringify({
    item_handlers: handlers,
    metrics: {},
    performance_metrics: {},
    init_timestamp_nsecs: "now",
    commit_timestamp_nsecs: "now",
    custom_metadata: {},
  });
  return text.replaceAll('"now"', nanoseconds);
}

const CHECKPOINT_METADATA = "_CHECKPOINT_METADATA";

async function writeItem(
  folder: string,
  root: string,
  tensors: readonly BlockTensor[],
  { dtype = "F32", onTensor = () => {} }: OrbaxContent,
  nowMs: number,
): Promise<void> {
  const encoder = new TextEncoder();
  const paths: string[][] = [];
  for (const tensor of tensors) {
    const keys = [root, ...tensor.name.split("/")];
    if (!isSafeRelativePath(tensor.name) || tensor.name.includes(".")) {
      throw new RangeError(
        `Cannot export tensor ${JSON.stringify(tensor.name)}: a path is made of names without dots`,
      );
    }
    paths.push(keys);
    onTensor(tensor);
    await writeArray(join(folder, keys.join(".")), tensor, dtype);
  }
  const metadata = JSON.stringify(treeMetadata(paths));
  await writeDurably(join(folder, "_METADATA"), encoder.encode(metadata));
  await writeDurably(
    join(folder, CHECKPOINT_METADATA),
    encoder.encode(checkpointMetadata(HANDLER, nowMs)),
  );
}

/**
 * Write a checkpoint that Orbax and openpi read. It appears whole or not at all, in place of one of
 * that name if there is one.
 *
 * @param dir Its folder; openpi is given `<dir>/params`.
 * @param content What to store.
 * @param nowMs Time that is recorded, in milliseconds since 1970.
 * @throws {RangeError} When a name or an asset's path cannot be stored, or a number does not fit the
 *   format.
 */
export async function writeOrbaxCheckpoint(
  dir: string,
  content: OrbaxContent,
  nowMs: number = Date.now(),
): Promise<void> {
  const { actorBackbone, valueHead, assets = new Map<string, Uint8Array>() } = content;
  const unsafe = [...assets.keys()].find((path) => !isSafeRelativePath(path));
  if (unsafe !== undefined) {
    throw new RangeError(
      `Cannot export ${dir}: asset ${JSON.stringify(unsafe)} is not a path below assets/`,
    );
  }
  await writeDirectory(dir, async (temporary) => {
    await writeItem(join(temporary, "params"), ROOT, actorBackbone, content, nowMs);
    if (valueHead !== undefined) {
      await writeItem(join(temporary, "value_head"), "value_head", valueHead, content, nowMs);
    }
    for (const [path, bytes] of assets) {
      await writeDurably(join(temporary, "assets", path), bytes);
    }
    const items = ["params", ...(valueHead === undefined ? [] : ["value_head"])];
    const handlers = Object.fromEntries(items.map((item) => [item, HANDLER]));
    await writeDurably(
      join(temporary, CHECKPOINT_METADATA),
      new TextEncoder().encode(checkpointMetadata(handlers, nowMs)),
    );
  });
}

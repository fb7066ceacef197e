/**
 * Orbax checkpoints as a {@link TensorSource}: zarr arrays in an OCDBT database or in plain folders.
 *
 * @module
 */

import { join } from "node:path";
import { createTensorSource } from "./create_source.ts";
import { BYTES_PER_NUMBER } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { type KeyValueStore, openDirectoryStore } from "./key_value_store.ts";
import { openOcdbtStore } from "./ocdbt/store.ts";
import { type OrbaxMetadata, readOrbaxMetadata } from "./orbax_metadata.ts";
import { elementCount } from "./safetensors_header.ts";
import { rowMajorBoxes } from "./tensor_blocks.ts";
import type { SkippedTensor, StoredTensor, TensorSource } from "./tensor_source.ts";
import { type StoredArray, zarrBlocks } from "./zarr_blocks.ts";
import { chunkKey, parseZarrMetadata } from "./zarr_metadata.ts";

/** Files that describe an array, with the version of zarr. */
const DESCRIPTIONS = [["/.zarray", 2], ["/zarr.json", 3]] as const;

/** Far above the description of any array. */
const MAX_DESCRIPTION_BYTES = 1 << 20;

/**
 * Chunks that an old checkpoint may leave out of one array because they hold only zeros. It bounds
 * what a damaged description can make a reader do.
 */
const MAX_MISSING_CHUNKS = 1 << 14;
/** The same as bytes of float32. */
const MAX_MISSING_BYTES = 1 << 28;

/**
 * No compression that is read makes one stored byte into more than this many: a zstd block of one
 * repeated byte is four bytes that become 128 KiB. An array that claims more is not in its chunks.
 */
const MAX_EXPANSION = 1 << 15;

/** A tensor and its array. */
interface OrbaxTensor extends StoredTensor {
  readonly stored: StoredArray;
}

/** Check that the chunks of an array are there and can hold it. */
function checkChunks(
  { store, key, array }: StoredArray,
  file: string,
  metadata: OrbaxMetadata | undefined,
): void {
  const refuse = (reason: string) =>
    new CheckpointError(
      `Cannot read ${file}: array ${JSON.stringify(key)} ${reason}; copy the checkpoint again.`,
    );
  const { shape, chunkShape } = array;
  const chunkFloatBytes = elementCount(chunkShape) * Float32Array.BYTES_PER_ELEMENT;
  let missing = 0;
  let storedBytes = 0;
  let storedChunks = 0;
  const counts = shape.map((size, i) => Math.ceil(size / chunkShape[i]));
  for (const { origin } of rowMajorBoxes(counts, 1)) {
    const chunk = chunkKey(array, origin);
    const size = store.sizes.get(`${key}/${chunk}`);
    if (size !== undefined) {
      storedBytes += size;
      storedChunks++;
    } else if (metadata?.isComplete) throw refuse(`misses its chunk ${chunk}`);
    else if (++missing > MAX_MISSING_CHUNKS || missing * chunkFloatBytes > MAX_MISSING_BYTES) {
      throw refuse(`misses ${missing} or more of its ${elementCount(counts)} chunks`);
    }
  }
  const claimed = storedChunks * elementCount(chunkShape) * BYTES_PER_NUMBER[array.dtype];
  if (claimed > storedBytes * MAX_EXPANSION) {
    throw refuse(`claims ${claimed} bytes, which its ${storedBytes} stored bytes cannot become`);
  }
}

async function openStore(
  store: KeyValueStore,
  format: "orbax-ocdbt" | "orbax-zarr",
): Promise<TensorSource> {
  const metadata = await readOrbaxMetadata(store.path);
  const tensors = new Map<string, OrbaxTensor>();
  const skipped: SkippedTensor[] = [];
  const found = new Set<string>();
  for (const [fullKey, size] of store.sizes) {
    const description = DESCRIPTIONS.find(([suffix]) => fullKey.endsWith(suffix));
    if (description === undefined) continue;
    const [suffix, version] = description;
    const key = fullKey.slice(0, -suffix.length);
    const file = store.place(fullKey);
    if (size > MAX_DESCRIPTION_BYTES) {
      throw new CheckpointError(
        `Cannot read ${file}: a description of ${size} bytes is too long, the limit is ` +
          `${MAX_DESCRIPTION_BYTES}.`,
      );
    }
    const parsed = parseZarrMetadata(await store.read(fullKey, 0, size), version, file);
    if (parsed.kind === "group") continue;
    const name = (metadata?.parts.get(key) ?? key.split(".")).join("/");
    if (found.has(key) || tensors.has(name)) {
      throw new CheckpointError(
        `Cannot read ${file}: array ${JSON.stringify(name)} is there twice.`,
      );
    }
    found.add(key);
    if (parsed.kind === "skipped") {
      skipped.push({ name, reason: parsed.reason, file });
      continue;
    }
    const stored: StoredArray = { store, key, array: parsed.array };
    checkChunks(stored, file, metadata);
    const { shape, dtype } = parsed.array;
    tensors.set(name, { name, shape, dtype, file, stored });
  }
  const lost = metadata?.required.filter((key) => !found.has(key)) ?? [];
  if (lost.length > 0) {
    throw new CheckpointError(
      `Cannot read ${store.path}: ${lost.length} of the arrays that its _METADATA names are ` +
        `missing, the first is ${JSON.stringify(lost[0])}; copy the checkpoint again.`,
    );
  }
  if (found.size === 0) {
    throw new CheckpointError(`Cannot read ${store.path}: it holds no zarr array.`);
  }
  return createTensorSource({
    format,
    path: store.path,
    tensors: [...tensors.values()],
    skipped,
    readBlocks: ({ stored }, maxBlockBytes) => zarrBlocks(stored, maxBlockBytes),
  });
}

/**
 * Open an Orbax checkpoint that is an OCDBT database.
 *
 * @param dir Folder with `manifest.ocdbt`.
 * @returns Its arrays, named with `/` between the parts.
 * @throws {CheckpointError} One sentence with the file and the offset or key.
 */
export async function openOrbaxOcdbt(dir: string): Promise<TensorSource> {
  return await openStore(await openOcdbtStore(dir), "orbax-ocdbt");
}

/**
 * Open an Orbax checkpoint of one folder an array.
 *
 * @param dir Folder whose subfolders hold `.zarray` or `zarr.json`, at any depth.
 * @returns Its arrays, named with `/` between the parts.
 * @throws {CheckpointError} One sentence with the file or key.
 */
export async function openOrbaxZarr(dir: string): Promise<TensorSource> {
  return await openStore(await openDirectoryStore(join(dir)), "orbax-zarr");
}

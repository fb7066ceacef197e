/**
 * Safetensors files as a {@link TensorSource}: one file, or shards with an index.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { isQuantizedFormat } from "../quant/quantized_header.ts";
import { openQuantizedSource } from "../quant/quantized_source.ts";
import { createTensorSource } from "./create_source.ts";
import { CheckpointError } from "./errors.ts";
import { readSmallFile, streamRange } from "./file_ranges.ts";
import { openSafetensors } from "./safetensors.ts";
import type { SafetensorsHeader, TensorEntry } from "./safetensors_header.ts";
import { blocksOfBytes } from "./tensor_blocks.ts";
import type { SkippedTensor, StoredTensor, TensorSource } from "./tensor_source.ts";

const MAX_INDEX_BYTES = 1 << 26;

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

/** A tensor and its place. */
interface FileTensor extends StoredTensor {
  readonly entry: TensorEntry;
}

function createSource(
  path: string,
  tensors: readonly FileTensor[],
  skipped: readonly SkippedTensor[],
): TensorSource {
  return createTensorSource({
    format: "safetensors",
    path,
    tensors,
    skipped,
    readBlocks: ({ name, file, entry }, maxBlockBytes) =>
      blocksOfBytes(
        streamRange(file, entry.start, entry.byteLength),
        entry,
        maxBlockBytes,
        (found) =>
          new CheckpointError(`Cannot read ${file}: tensor ${name} ends after ${found} bytes.`),
      ),
  });
}

async function readHeader(file: string): Promise<SafetensorsHeader> {
  using open = await openSafetensors(file, { allowsUnreadable: true });
  return open.header;
}

function listed({ entries, skipped }: SafetensorsHeader, file: string) {
  return {
    tensors: entries.map((entry): FileTensor => {
      const { name, shape, dtype } = entry;
      return { name, shape, dtype, file, entry };
    }),
    skipped: skipped.map(({ name, dtype }): SkippedTensor => ({
      name,
      reason: `its dtype is ${JSON.stringify(dtype)}, not a float that is read`,
      file,
    })),
  };
}

/**
 * Open one safetensors file; matrices that Tendon quantised are dequantised as they are read.
 *
 * @param path The file.
 * @returns Its tensors.
 * @throws {CheckpointError} When it is missing, truncated or not a safetensors file.
 */
export async function openSafetensorsSource(path: string): Promise<TensorSource> {
  const header = await readHeader(path);
  if (isQuantizedFormat(header.metadata)) return await openQuantizedSource(path);
  const { tensors, skipped } = listed(header, path);
  return createSource(path, tensors, skipped);
}

/** Read which shard holds which tensor. */
async function readIndex(path: string): Promise<ReadonlyMap<string, string>> {
  let json: unknown;
  try {
    json = JSON.parse(
      new TextDecoder("utf-8", { fatal: true }).decode(await readSmallFile(path, MAX_INDEX_BYTES)),
    );
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    throw new CheckpointError(`Cannot read ${path}: it is not JSON.`, { cause });
  }
  const parsed = indexSchema.safeParse(json);
  if (!parsed.success) {
    throw new CheckpointError(
      `Cannot read ${path}: it has no weight_map from names of tensors to names of files.`,
    );
  }
  const shards = new Map(Object.entries(parsed.data.weight_map));
  for (const [name, shard] of shards) {
    if (basename(shard) !== shard || shard === "" || shard === "..") {
      throw new CheckpointError(
        `Cannot read ${path}: tensor ${JSON.stringify(name)} is in ${JSON.stringify(shard)}, ` +
          `which is not a file beside the index.`,
      );
    }
  }
  if (shards.size === 0) throw new CheckpointError(`Cannot read ${path}: it names no tensor.`);
  return shards;
}

/**
 * Open a safetensors checkpoint of several files.
 *
 * @param path The index, such as `model.safetensors.index.json`.
 * @returns All tensors.
 * @throws {CheckpointError} When a shard is missing or damaged, or when the shards do not hold
 *   exactly what the index says: a tensor elsewhere, twice, or not at all.
 */
export async function openShardedSafetensors(path: string): Promise<TensorSource> {
  const index = await readIndex(path);
  const tensors: FileTensor[] = [];
  const skipped: SkippedTensor[] = [];
  const seen = new Map<string, string>();
  for (const shard of [...new Set(index.values())].sort()) {
    const file = join(dirname(path), shard);
    const found = listed(await readHeader(file), file);
    for (const { name } of [...found.tensors, ...found.skipped]) {
      const other = seen.get(name);
      if (other !== undefined) {
        throw new CheckpointError(
          `Cannot read ${file}: tensor ${JSON.stringify(name)} is in ${other} as well.`,
        );
      }
      if (index.get(name) !== shard) {
        throw new CheckpointError(
          `Cannot read ${file}: it holds tensor ${JSON.stringify(name)}, which ${path} ` +
            `${index.has(name) ? `puts into ${index.get(name)}` : "does not name"}.`,
        );
      }
      seen.set(name, shard);
    }
    tensors.push(...found.tensors);
    skipped.push(...found.skipped);
  }
  for (const [name, shard] of index) {
    if (!seen.has(name)) {
      throw new CheckpointError(
        `Cannot read ${join(dirname(path), shard)}: it misses tensor ${JSON.stringify(name)}, ` +
          `which ${path} puts there.`,
      );
    }
  }
  return createSource(dirname(path), tensors, skipped);
}

/**
 * What lies beside the weights of a checkpoint of any origin: Tendon's metadata, and the assets.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { inspectCheckpoint } from "./checkpoint.ts";
import { CheckpointError } from "./errors.ts";
import type { CheckpointMetadata } from "./metadata.ts";

/** Far above any tokenizer. */
const MAX_ASSET_BYTES = 1 << 28;
/** `<asset id>/<sub>/file` is as deep as anybody nests. */
const MAX_DEPTH = 3;

/** What {@link readCheckpointFiles} found. */
export interface CheckpointFiles {
  /** Tendon's metadata; undefined for a checkpoint of another origin. */
  readonly metadata: CheckpointMetadata | undefined;
  /** Files by their path below `assets/`. */
  readonly assets: ReadonlyMap<string, Uint8Array>;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw error;
  }
}

async function collect(
  dir: string,
  prefix: string,
  depth: number,
  into: Map<string, Uint8Array>,
): Promise<void> {
  for await (const { name, isFile, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory && depth > 0) await collect(path, `${prefix}${name}/`, depth - 1, into);
    if (!isFile || name.startsWith(".") || name.startsWith("_")) continue;
    const { size } = await Deno.stat(path);
    if (size > MAX_ASSET_BYTES) {
      throw new CheckpointError(
        `Cannot read ${path}: it has ${size} bytes, the limit of an asset is ${MAX_ASSET_BYTES}.`,
      );
    }
    into.set(prefix + name, await Deno.readFile(path));
  }
}

/**
 * The folder that has a checkpoint's `assets/`: the named one or, where `params` of an openpi step was
 * named, the one above.
 *
 * @param path A checkpoint's file or folder.
 * @returns The folder; undefined when there are no assets.
 */
export async function assetsFolder(path: string): Promise<string | undefined> {
  for (const folder of [path, dirname(path)]) {
    const assets = join(folder, "assets");
    if (await exists(assets)) return assets;
  }
  return undefined;
}

/**
 * Read the assets of a checkpoint, even if its weights are damaged.
 *
 * @param path A checkpoint's file or folder.
 * @returns Files by their path below `assets/`.
 * @throws {CheckpointError} When one is far too large.
 */
export async function readAssets(path: string): Promise<ReadonlyMap<string, Uint8Array>> {
  const assets = new Map<string, Uint8Array>();
  const folder = await assetsFolder(path);
  if (folder !== undefined) await collect(folder, "", MAX_DEPTH, assets);
  return assets;
}

/**
 * Read what lies beside the weights.
 *
 * @param path A checkpoint's file or folder.
 * @throws {CheckpointError} When Tendon's metadata is damaged or an asset is far too large.
 */
export async function readCheckpointFiles(path: string): Promise<CheckpointFiles> {
  const hasMetadata = await exists(join(path, "metadata.json"));
  return {
    metadata: hasMetadata ? await inspectCheckpoint(path) : undefined,
    assets: await readAssets(path),
  };
}

/**
 * Opens a checkpoint of any format, which it recognises by the files.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { CheckpointError } from "./errors.ts";
import { fileError, fileSize, readRange } from "./file_ranges.ts";
import { openNpz } from "./npz_source.ts";
import { MANIFEST_FILE } from "./ocdbt/store.ts";
import { ORBAX_METADATA_FILE } from "./orbax_metadata.ts";
import { openOrbaxOcdbt, openOrbaxZarr } from "./orbax_source.ts";
import { openSafetensorsSource, openShardedSafetensors } from "./safetensors_source.ts";
import type { TensorSource } from "./tensor_source.ts";

const SAFETENSORS_FILE = "model.safetensors";
const INDEX_SUFFIX = ".safetensors.index.json";
const INDEX_FILE = `model${INDEX_SUFFIX}`;

/** `PK`, with which every ZIP archive begins. */
const ZIP_MAGIC = [0x50, 0x4b];

/** The brace that begins a safetensors header, behind its length. */
const BRACE = 0x7b;
const BRACE_OFFSET = 8;

/** Subfolders that a checkpoint's parameters may be in: openpi's and Tendon's, and Orbax's own. */
const PARAMS_FOLDERS = ["params", "default"];

/** Subfolders that hold tensors but no parameters. */
const OTHER_FOLDERS = ["train_state", "opt_state", "assets"];

/** Levels of folders that are searched below the one that was named. */
const MAX_DEPTH = 2;

/** Folders that are looked into for arrays: a checkpoint has one soon, a whole disk has none. */
const MAX_NESTED_FOLDERS = 1000;

/** How Orbax names a checkpoint that it has not finished. */
const UNFINISHED = /\.orbax-checkpoint-tmp(-\d+)?\/*$/;

const EXPECTED =
  "an Orbax checkpoint (manifest.ocdbt or zarr arrays), a .safetensors file or its " +
  "index, or an .npz archive";

type Opener = () => Promise<TensorSource>;

interface Listing {
  readonly files: ReadonlySet<string>;
  readonly folders: readonly string[];
}

async function list(dir: string): Promise<Listing> {
  const files = new Set<string>();
  const folders: string[] = [];
  try {
    for await (const { name, isDirectory, isSymlink } of Deno.readDir(dir)) {
      const isFolder = isDirectory ||
        (isSymlink && (await Deno.stat(join(dir, name))).isDirectory);
      if (isFolder) folders.push(name);
      else files.add(name);
    }
  } catch (error) {
    throw fileError(error, dir);
  }
  return { files, folders: folders.sort() };
}

/** Whether there is a zarr array in one of these folders. */
async function hasArray(dir: string, folders: readonly string[]): Promise<boolean> {
  for (const folder of folders) {
    const { files } = await list(join(dir, folder));
    if (files.has(".zarray") || files.has("zarr.json")) return true;
  }
  return false;
}

/** How to open what lies in a folder itself; undefined when there is nothing. */
async function openerOf(dir: string, { files, folders }: Listing): Promise<Opener | undefined> {
  if (files.has(INDEX_FILE)) return () => openShardedSafetensors(join(dir, INDEX_FILE));
  if (files.has(SAFETENSORS_FILE)) {
    return () => openSafetensorsSource(join(dir, SAFETENSORS_FILE));
  }
  if (files.has(MANIFEST_FILE)) return () => openOrbaxOcdbt(dir);
  if (folders.some((name) => name.startsWith("ocdbt.process_"))) {
    throw new CheckpointError(
      `Cannot read ${dir}: it has the parts of an Orbax checkpoint but no ${MANIFEST_FILE}; ` +
        `saving it did not finish.`,
    );
  }
  if (files.has(ORBAX_METADATA_FILE) || await hasArray(dir, folders)) {
    return () => openOrbaxZarr(dir);
  }
  return undefined;
}

/** Search a folder and those below it. */
async function search(dir: string, depth: number): Promise<Map<string, Opener>> {
  const listing = await list(dir);
  const own = await openerOf(dir, listing);
  if (own !== undefined) return new Map([[dir, own]]);
  if (depth === 0) return new Map();
  for (const name of PARAMS_FOLDERS) {
    if (!listing.folders.includes(name)) continue;
    const found = await search(join(dir, name), 0);
    if (found.size > 0) return found;
  }
  const found = new Map<string, Opener>();
  for (const name of listing.folders) {
    if (OTHER_FOLDERS.includes(name) || UNFINISHED.test(name)) continue;
    for (const [path, opener] of await search(join(dir, name), depth - 1)) found.set(path, opener);
  }
  return found;
}

/** Early Orbax made a folder of every part of a name. Only where nothing else is found. */
async function nestedArrays(dir: string): Promise<Opener | undefined> {
  const { folders } = await list(dir);
  const params = PARAMS_FOLDERS.find((name) => folders.includes(name));
  const root = params === undefined ? dir : join(dir, params);
  const open = [root];
  for (let visited = 0; visited < MAX_NESTED_FOLDERS; visited++) {
    const folder = open.pop();
    if (folder === undefined) return undefined;
    const below = (await list(folder)).folders.filter((name) => !OTHER_FOLDERS.includes(name));
    if (await hasArray(folder, below)) return () => openOrbaxZarr(root);
    open.push(...below.map((name) => join(folder, name)));
  }
  return undefined;
}

async function openFolder(dir: string): Promise<TensorSource> {
  if (UNFINISHED.test(dir)) {
    throw new CheckpointError(`Cannot read ${dir}: saving this checkpoint did not finish.`);
  }
  const found = [...await search(dir, MAX_DEPTH)];
  if (found.length === 0) {
    const nested = await nestedArrays(dir);
    if (nested !== undefined) return await nested();
    throw new CheckpointError(`Cannot read ${dir}: it holds no checkpoint; expected ${EXPECTED}.`);
  }
  if (found.length > 1) {
    throw new CheckpointError(
      `Cannot read ${dir}: it holds ${found.length} checkpoints; give the path of one, such as ` +
        `${found[0][0]}.`,
    );
  }
  return await found[0][1]();
}

async function openFile(path: string): Promise<TensorSource> {
  if (path.endsWith(INDEX_SUFFIX)) return await openShardedSafetensors(path);
  if (basename(path) === MANIFEST_FILE) return await openOrbaxOcdbt(dirname(path));
  const head = await readRange(path, 0, Math.min(BRACE_OFFSET + 1, await fileSize(path)));
  if (path.endsWith(".npz") || ZIP_MAGIC.every((byte, i) => head[i] === byte)) {
    return await openNpz(path);
  }
  if (path.endsWith(".safetensors") || head[BRACE_OFFSET] === BRACE) {
    return await openSafetensorsSource(path);
  }
  throw new CheckpointError(`Cannot read ${path}: it is no checkpoint; expected ${EXPECTED}.`);
}

/**
 * Open a checkpoint, whatever wrote it.
 *
 * Read are Orbax checkpoints with and without OCDBT (as openpi writes them and as it releases
 * them), safetensors files with or without shards (LeRobot's, and Tendon's own `step_N` folders),
 * and NumPy's `.npz` (PaliGemma's). Nothing of the values is read until they are asked for. Several
 * tensors may be read at the same time, and several workers may open the same checkpoint.
 *
 * @param path A file, the folder of a checkpoint, or a folder with one checkpoint up to two levels
 *   below; in an openpi step folder its `params`.
 * @returns The open checkpoint. Names are the file's own, for Orbax with `/` between their parts.
 * @throws {CheckpointError} One sentence with the file and the offset or key, when there is no
 *   checkpoint, more than one, or a damaged one.
 */
export async function openTensorSource(path: string): Promise<TensorSource> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    throw fileError(error, path);
  }
  return info.isDirectory ? await openFolder(path) : await openFile(path);
}

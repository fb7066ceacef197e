/**
 * Checkpoints: the weights of an actor, of its critic if there is one, and all that is needed to use
 * or to continue them.
 *
 * ```
 * <checkpoint-dir>/<experiment>/step_<N>/
 *   metadata.json                         kind, model, training state, list of files
 *   params/model.safetensors              actor_backbone/PaliGemma/…, value_head/…
 *   train_state/optimizer.safetensors     when the run can be continued
 *   train_state/…                         what else it needs for that
 *   assets/…                              tokenizers, normalisation statistics
 * ```
 *
 * @module
 */

import { join } from "node:path";
import { readQuantizedFile } from "../quant/quantized_file.ts";
import { isQuantizedFormat } from "../quant/quantized_header.ts";
import type { QuantizedTensor } from "../quant/quantized_tensor.ts";
import type { HostTensor } from "../types.ts";
import { writeDirectory, writeDurably } from "./atomic_directory.ts";
import type { WritableDtype } from "./dtype.ts";
import { CheckpointError } from "./errors.ts";
import { readSmallFile } from "./file_ranges.ts";
import {
  type CheckpointInfo,
  type CheckpointMetadata,
  FORMAT_VERSION,
  formatMetadata,
  isSafeRelativePath,
  parseMetadata,
} from "./metadata.ts";
import {
  type LazyTensor,
  openSafetensors,
  readSafetensors,
  writeSafetensors,
} from "./safetensors.ts";

const METADATA_FILE = "metadata.json";
const PARAMS_FILE = "params/model.safetensors";
const OPTIMIZER_FILE = "train_state/optimizer.safetensors";
const TRAIN_STATE_PREFIX = "train_state/";
const ASSETS_PREFIX = "assets/";
const ACTOR_PREFIX = "actor_backbone/";
const VALUE_PREFIX = "value_head/";
/** Orbax ends every path of a saved state in this; openpi strips it when it restores parameters. */
const VALUE_SUFFIX = "/value";
/** Far above any metadata or tokenizer file; keeps a damaged checkpoint from filling memory. */
const MAX_SMALL_FILE_BYTES = 1 << 28;

/** What {@link writeCheckpoint} stores. */
export interface CheckpointContent {
  /** What it is and how it came to be. */
  readonly info: CheckpointInfo;
  /** The actor's parameters under openpi's paths, such as `PaliGemma/llm/final_norm/scale`. */
  readonly actorBackbone: readonly (HostTensor | LazyTensor)[];
  /** The critic's parameters; required for kind actor_critic, absent for imitation. */
  readonly valueHead?: readonly (HostTensor | LazyTensor)[];
  /** The optimiser's tensors, when the run can be continued; always stored as F32. */
  readonly optimizer?: readonly (HostTensor | LazyTensor)[];
  /** Further files by their path below `train_state/`; none may be `optimizer.safetensors`. */
  readonly trainState?: ReadonlyMap<string, Uint8Array>;
  /** Further files by their path below `assets/`, such as `tokenizer.json`. */
  readonly assets?: ReadonlyMap<string, Uint8Array>;
  /** Format of the stored parameters; F32 by default. */
  readonly dtype?: WritableDtype;
}

/** What {@link readCheckpoint} returns. */
export interface Checkpoint {
  /** What it is and how it came to be. */
  readonly metadata: CheckpointMetadata;
  /** The actor's parameters under openpi's paths, without those in {@link quantized}. */
  readonly actorBackbone: readonly HostTensor[];
  /** The actor's matrices that are stored in few bits, by path; absent when none are. */
  readonly quantized?: ReadonlyMap<string, QuantizedTensor>;
  /** The critic's parameters; undefined for an imitation checkpoint: the caller makes a fresh head. */
  readonly valueHead: readonly HostTensor[] | undefined;
  /** The optimiser's tensors; undefined when there are none or they were not asked for. */
  readonly optimizer: readonly HostTensor[] | undefined;
  /** Further files by their path below `assets/`. */
  readonly assets: ReadonlyMap<string, Uint8Array>;
}

/** Options of {@link readCheckpoint}. */
export interface ReadOptions {
  /** Whether to read the optimiser's tensors, which are twice the parameters; true by default. */
  readonly withOptimizer?: boolean;
}

/**
 * The folder of a checkpoint.
 *
 * @param checkpointDir Folder of all experiments.
 * @param expName Name of the experiment.
 * @param step Step that the checkpoint was written at.
 */
export function checkpointPath(checkpointDir: string, expName: string, step: number): string {
  return join(checkpointDir, expName, `step_${step}`);
}

function prefixed(tensor: HostTensor | LazyTensor, prefix: string): HostTensor | LazyTensor {
  const name = `${prefix}${tensor.name}`;
  const { shape } = tensor;
  return "load" in tensor
    ? { name, shape, load: () => tensor.load() }
    : { name, shape, data: tensor.data };
}

/**
 * Write a checkpoint. It appears whole or not at all, in place of one of that name if there is one.
 *
 * @param dir Its folder, as {@link checkpointPath} names it.
 * @param content What to store.
 * @throws {RangeError} When the content contradicts itself: a critic in an imitation checkpoint, a
 *   name twice, values that do not match their shape, a number that the format cannot hold.
 */
export async function writeCheckpoint(dir: string, content: CheckpointContent): Promise<void> {
  const { info, actorBackbone, valueHead, optimizer, dtype } = content;
  const { assets = new Map(), trainState = new Map() } = content;
  if ((info.kind === "actor_critic") !== (valueHead !== undefined)) {
    throw new RangeError(
      `Cannot write checkpoint ${dir}: kind ${info.kind} ` +
        `${
          valueHead === undefined ? "needs a value head, none" : "takes no value head, one"
        } is given`,
    );
  }
  for (
    const [prefix, files] of [[ASSETS_PREFIX, assets], [TRAIN_STATE_PREFIX, trainState]] as const
  ) {
    const unsafe = [...files.keys()].find((path) =>
      !isSafeRelativePath(path) || prefix + path === OPTIMIZER_FILE
    );
    if (unsafe === undefined) continue;
    const what = prefix === ASSETS_PREFIX ? "asset" : "file";
    throw new RangeError(
      `Cannot write checkpoint ${dir}: ${what} ${JSON.stringify(unsafe)} is not a path below ` +
        `${prefix} that is free`,
    );
  }
  // Throws now, not after gigabytes have been written, when a field is out of range.
  formatMetadata({ ...info, formatVersion: FORMAT_VERSION, files: {} });

  await writeDirectory(dir, async (temporary) => {
    const files: Record<string, number> = {};
    await Deno.mkdir(join(temporary, "params"));
    files[PARAMS_FILE] = await writeSafetensors(join(temporary, PARAMS_FILE), [
      ...actorBackbone.map((tensor) => prefixed(tensor, ACTOR_PREFIX)),
      ...(valueHead ?? []).map((tensor) => prefixed(tensor, VALUE_PREFIX)),
    ], { dtype });
    if (optimizer !== undefined) {
      await Deno.mkdir(join(temporary, "train_state"));
      files[OPTIMIZER_FILE] = await writeSafetensors(join(temporary, OPTIMIZER_FILE), optimizer);
    }
    const further = [
      ...[...trainState].map(([path, bytes]) => [TRAIN_STATE_PREFIX + path, bytes] as const),
      ...[...assets].map(([path, bytes]) => [ASSETS_PREFIX + path, bytes] as const),
    ];
    for (const [path, bytes] of further) {
      await writeDurably(join(temporary, path), bytes);
      files[path] = bytes.length;
    }
    const metadata = formatMetadata({ ...info, formatVersion: FORMAT_VERSION, files });
    await writeDurably(join(temporary, METADATA_FILE), new TextEncoder().encode(metadata));
  });
}

async function checkFolder(dir: string): Promise<void> {
  try {
    if ((await Deno.stat(dir)).isDirectory) return;
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) {
      throw new CheckpointError(`Cannot read checkpoint ${dir}: ${(cause as Error).message}.`, {
        cause,
      });
    }
    throw new CheckpointError(
      `Cannot read checkpoint ${dir}: there is no such folder; give the path of a step_<N> folder.`,
      { cause },
    );
  }
  throw new CheckpointError(
    `Cannot read checkpoint ${dir}: it is not a folder; give the path of a step_<N> folder.`,
  );
}

/**
 * Read the metadata of a checkpoint and check that every file is there in its full size, without
 * reading any weights.
 *
 * @param dir Its folder.
 * @returns The metadata.
 * @throws {CheckpointError} When the folder or a file is missing, truncated or of another format.
 */
export async function inspectCheckpoint(dir: string): Promise<CheckpointMetadata> {
  await checkFolder(dir);
  const path = join(dir, METADATA_FILE);
  const metadata = parseMetadata(
    new TextDecoder().decode(await readSmallFile(path, MAX_SMALL_FILE_BYTES)),
    path,
  );
  if (!(PARAMS_FILE in metadata.files)) {
    throw new CheckpointError(`Cannot read ${path}: its list of files misses ${PARAMS_FILE}.`);
  }
  for (const [name, expected] of Object.entries(metadata.files)) {
    const file = join(dir, name);
    let found: number;
    try {
      found = (await Deno.stat(file)).size;
    } catch (cause) {
      throw new CheckpointError(
        `Cannot read checkpoint ${dir}: ${name} is missing; copy it again or use another one.`,
        { cause },
      );
    }
    if (found !== expected) {
      throw new CheckpointError(
        `Cannot read ${file}: it is ${found < expected ? "truncated" : "too long"}, ${expected} ` +
          `bytes expected and ${found} found; copy it again or use another checkpoint.`,
      );
    }
  }
  return metadata;
}

/** The stored parameters; matrices in few bits stay so. */
async function readParams(path: string): Promise<{
  readonly tensors: readonly HostTensor[];
  readonly quantized: ReadonlyMap<string, QuantizedTensor>;
}> {
  const isQuantized = await holdsQuantized(path);
  if (!isQuantized) return { tensors: await readSafetensors(path), quantized: new Map() };
  const { matrices, floats } = await readQuantizedFile(path);
  const actor = [...matrices.values()].map((tensor): [string, QuantizedTensor] => {
    const name = tensor.name.replace(ACTOR_PREFIX, "");
    return [name, { ...tensor, name }];
  });
  return { tensors: [...floats.values()], quantized: new Map(actor) };
}

async function holdsQuantized(path: string): Promise<boolean> {
  using file = await openSafetensors(path, { allowsUnreadable: true });
  return isQuantizedFormat(file.header.metadata);
}

/** Split stored names into actor and critic, without the suffix that Orbax adds to every name. */
function splitParams(tensors: readonly HostTensor[], path: string) {
  const isSuffixed = tensors.every(({ name }) => name.endsWith(VALUE_SUFFIX));
  const stripped = isSuffixed
    ? tensors.map((tensor) => ({ ...tensor, name: tensor.name.slice(0, -VALUE_SUFFIX.length) }))
    : tensors;
  const below = (prefix: string) =>
    stripped
      .filter(({ name }) => name.startsWith(prefix))
      .map((tensor) => ({ ...tensor, name: tensor.name.slice(prefix.length) }));
  const stranger = stripped.find(({ name }) =>
    !name.startsWith(ACTOR_PREFIX) && !name.startsWith(VALUE_PREFIX)
  );
  if (stranger !== undefined) {
    throw new CheckpointError(
      `Cannot read ${path}: tensor ${JSON.stringify(stranger.name)} is neither below ` +
        `${ACTOR_PREFIX} nor below ${VALUE_PREFIX}.`,
    );
  }
  return { actorBackbone: below(ACTOR_PREFIX), valueHead: below(VALUE_PREFIX) };
}

/**
 * Read a checkpoint.
 *
 * @param dir Its folder.
 * @param options What to leave out.
 * @returns Everything in it. `valueHead` is undefined for an imitation checkpoint, so that the
 *   caller adds a fresh one and says so.
 * @throws {CheckpointError} When the folder or a file is missing, truncated, damaged or of another
 *   format version: one sentence with the file, what was expected and what was found.
 */
export async function readCheckpoint(
  dir: string,
  { withOptimizer = true }: ReadOptions = {},
): Promise<Checkpoint> {
  const metadata = await inspectCheckpoint(dir);
  const path = join(dir, PARAMS_FILE);
  const { tensors, quantized } = await readParams(path);
  const { actorBackbone, valueHead } = splitParams(tensors, path);
  if (actorBackbone.length === 0) {
    throw new CheckpointError(`Cannot read ${path}: it has no tensor below ${ACTOR_PREFIX}.`);
  }
  const hasValueHead = valueHead.length > 0;
  if (hasValueHead !== (metadata.kind === "actor_critic")) {
    throw new CheckpointError(
      `Cannot read ${path}: it ${hasValueHead ? "has" : "misses"} tensors below ${VALUE_PREFIX}, ` +
        `but ${METADATA_FILE} says that its kind is ${metadata.kind}.`,
    );
  }
  const optimizer = withOptimizer && OPTIMIZER_FILE in metadata.files
    ? await readSafetensors(join(dir, OPTIMIZER_FILE))
    : undefined;
  const assets = new Map<string, Uint8Array>();
  for (const name of Object.keys(metadata.files)) {
    if (!name.startsWith(ASSETS_PREFIX)) continue;
    assets.set(
      name.slice(ASSETS_PREFIX.length),
      await readSmallFile(join(dir, name), MAX_SMALL_FILE_BYTES),
    );
  }
  return {
    metadata,
    actorBackbone,
    ...(quantized.size > 0 && { quantized }),
    valueHead: hasValueHead ? valueHead : undefined,
    optimizer,
    assets,
  };
}

/**
 * Read what a run needs to go on, besides weights and optimiser.
 *
 * @param dir Folder of the checkpoint.
 * @returns Files by their path below `train_state/`; none in a checkpoint that has no more than an
 *   optimiser.
 * @throws {CheckpointError} As {@link inspectCheckpoint} does.
 */
export async function readTrainStateFiles(dir: string): Promise<Map<string, Uint8Array>> {
  const { files } = await inspectCheckpoint(dir);
  const found = new Map<string, Uint8Array>();
  for (const path of Object.keys(files)) {
    if (!path.startsWith(TRAIN_STATE_PREFIX) || path === OPTIMIZER_FILE) continue;
    found.set(path.slice(TRAIN_STATE_PREFIX.length), await Deno.readFile(join(dir, path)));
  }
  return found;
}

/**
 * `deno task checkpoint inspect`: what a checkpoint is and what it holds, from its headers alone.
 * @module
 */

import { dirname, join } from "node:path";
import { BYTES_PER_NUMBER } from "../../common/checkpoint/dtype.ts";
import { GROUP_SIZE } from "../../common/quant/group_scale.ts";
import { CheckpointError } from "../../common/checkpoint/errors.ts";
import {
  LEROBOT_CONFIG_FILE,
  type LerobotConfig,
  readLerobotConfig,
  weightsFolder,
} from "../../common/checkpoint/lerobot_config.ts";
import {
  LEROBOT_PIPELINE_FILE,
  type LerobotStats,
  readLerobotStats,
} from "../../common/checkpoint/lerobot_stats.ts";
import { openTensorSource } from "../../common/checkpoint/open_source.ts";
import { recognise, type Recognition } from "../../common/checkpoint/recognise.ts";
import { elementCount } from "../../common/checkpoint/safetensors_header.ts";
import type { StoredTensor, TensorSource } from "../../common/checkpoint/tensor_source.ts";
import { parseSubcommand } from "./arguments.ts";
import { type ShownTensor, tensorTree } from "./tensor_tree.ts";

const SUBCOMMAND = {
  name: "deno task checkpoint inspect DIR",
  summary:
    "Say what a checkpoint is (whose, which model, which format) and print its tensors with " +
    "shapes and number formats, its size and its metadata. No weights are read.",
  paths: ["DIR"],
  flags: {
    json: {
      kind: "boolean",
      default: false,
      description: "Print one JSON object instead.",
    },
  },
} as const satisfies Parameters<typeof parseSubcommand>[0];

/** Files with something about a checkpoint, as Tendon and LeRobot name them. */
const METADATA_FILES = ["metadata.json", LEROBOT_CONFIG_FILE, LEROBOT_PIPELINE_FILE];
/** Bytes of a stored number; a quantised one has its share of a half-precision scale. */
function bytesPerNumber(dtype: StoredTensor["dtype"]): number {
  if (dtype === "I8" || dtype === "I4") return (dtype === "I8" ? 1 : 0.5) + 2 / GROUP_SIZE;
  return BYTES_PER_NUMBER[dtype];
}

/** Far above any metadata. */
const MAX_METADATA_BYTES = 1 << 24;

/** What LeRobot's files beside the weights say, as far as they can be used. */
export interface LerobotInspection {
  /** Its `config.json`; undefined when there is none or it cannot be used. */
  readonly config: LerobotConfig | undefined;
  /** Its statistics; undefined when there are none or they cannot be used. */
  readonly stats: LerobotStats | undefined;
}

/** What there is to say about a checkpoint. */
export interface Inspection {
  /** What was named. */
  readonly path: string;
  /** What it is; undefined when its names are those of no known model. */
  readonly recognition: Recognition | undefined;
  /** Format of its files. */
  readonly format: string;
  /** What it holds. */
  readonly tensors: readonly ShownTensor[];
  /** What is in its files and is not read. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** Numbers in all. */
  readonly parameters: number;
  /** Bytes of the numbers, uncompressed. */
  readonly bytes: number;
  /** What LeRobot's files say; undefined for another origin. */
  readonly lerobot: LerobotInspection | undefined;
  /** Sentences for people. */
  readonly notes: readonly string[];
  /** Metadata by file name, as its JSON has it. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Read the JSON files about a checkpoint, in its folder or, for a file, beside it. */
async function readMetadata(path: string): Promise<Record<string, unknown>> {
  const folder = (await Deno.stat(path)).isDirectory ? path : dirname(path);
  const below = await weightsFolder(path) ?? folder;
  const found: Record<string, unknown> = {};
  const places = [...new Set([below, folder])]
    .flatMap((place) => METADATA_FILES.map((name) => ({ name, file: join(place, name) })));
  for (const { name, file } of places) {
    try {
      if ((await Deno.stat(file)).size > MAX_METADATA_BYTES) continue;
      found[name] = JSON.parse(await Deno.readTextFile(file));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      throw new CheckpointError(`Cannot read ${file}: ${(error as Error).message}.`, {
        cause: error,
      });
    }
  }
  return found;
}

/** Read LeRobot's files; one that cannot be used becomes a note. */
async function readLerobot(
  path: string,
): Promise<{ lerobot: LerobotInspection; notes: readonly string[] }> {
  const notes: string[] = [];
  const orNote = async <T>(reading: Promise<T>): Promise<T | undefined> => {
    try {
      return await reading;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      notes.push(error.message);
    }
  };
  const config = await orNote(readLerobotConfig(path));
  const stats = await orNote(readLerobotStats(path));
  return { lerobot: { config, stats }, notes };
}

function recogniseOrSay(source: TensorSource): { known?: Recognition; notes: readonly string[] } {
  try {
    const known = recognise(source);
    return { known, notes: known.notes };
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    return { notes: [error.message] };
  }
}

/**
 * Look at a checkpoint.
 *
 * @param path Its file or folder.
 * @throws {CheckpointError} One sentence, when it cannot be opened.
 */
export async function inspectPath(path: string): Promise<Inspection> {
  using source = await openTensorSource(path);
  const { known, notes } = recogniseOrSay(source);
  const beside = known?.origin === "lerobot" ? await readLerobot(path) : undefined;
  return {
    path,
    recognition: known,
    format: source.format,
    tensors: source.tensors.map(({ name, shape, dtype }) => ({ name, shape, dtype })),
    skipped: source.skipped.map(({ name, reason }) => ({ name, reason })),
    parameters: source.tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0),
    bytes: source.tensors.reduce(
      (sum, { shape, dtype }) => sum + elementCount(shape) * bytesPerNumber(dtype),
      0,
    ),
    lerobot: beside?.lerobot,
    notes: [...notes, ...beside?.notes ?? []],
    metadata: await readMetadata(path),
  };
}

const KINDS = {
  imitation: "imitation: an actor alone, which gets a fresh value head",
  actor_critic: "actor_critic: an actor with its critic",
} as const;

/** Bytes in the largest unit that leaves at least 1. */
function showBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"];
  const step = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${(bytes / 1000 ** step).toFixed(step === 0 ? 0 : 2)} ${units[step]}`;
}

/** Rows about what LeRobot's files say. */
function describeLerobot({ config, stats }: LerobotInspection): [string, string][] {
  const rows: [string, string][] = [["dialect", "lerobot"]];
  if (config === undefined) rows.push(["config", "none that can be used"]);
  else {
    rows.push(
      ["chunk", `${config.horizon} steps of ${config.actionDim} numbers`],
      ["tokens", `at most ${config.maxTokenLen} of prompt and action`],
      ["actions", config.actionMode],
      ["normalises", config.normalization],
      ["cameras", config.cameras.join(", ")],
      ["tokenizers", `${config.textTokenizer}, ${config.actionTokenizer}`],
    );
  }
  const percentiles = stats?.stats.actions.q01 === undefined ? "without" : "with";
  rows.push([
    "statistics",
    stats === undefined ? "none" : `${stats.path}, ${percentiles} q01, q99`,
  ]);
  return rows;
}

function describe(inspection: Inspection): string[] {
  const { recognition, tensors, parameters, bytes } = inspection;
  const dtypes = [...new Set(tensors.map(({ dtype }) => dtype))].sort().join(", ");
  const rows: [string, string][] = [
    ["checkpoint", inspection.path],
    ["kind", recognition ? KINDS[recognition.kind] : "unknown"],
    ["origin", recognition?.origin ?? "unknown"],
    ["format", inspection.format],
    ["variant", recognition?.variant ?? "unknown"],
    ["tensors", `${tensors.length}${dtypes === "" ? "" : ` of ${dtypes}`}`],
    ["parameters", parameters.toLocaleString("en")],
    [
      "size",
      `${showBytes(bytes)} uncompressed` +
      (inspection.skipped.length === 0 ? "" : ", without the tensors that are not read"),
    ],
    ...(inspection.lerobot === undefined ? [] : describeLerobot(inspection.lerobot)),
    ...inspection.notes.map((note): [string, string] => ["note", note]),
  ];
  return [
    ...rows.map(([name, value]) => name.padEnd(12) + value),
    "",
    ...tensorTree(tensors),
    ...inspection.skipped.map(({ name, reason }) => `not read: ${name}: ${reason}`),
    ...Object.entries(inspection.metadata).flatMap(([name, value]) => [
      "",
      `${name}:`,
      JSON.stringify(value, null, 2),
    ]),
  ];
}

/**
 * Run the subcommand.
 *
 * @param args The arguments behind its name.
 * @param print Takes lines for standard output.
 */
export async function runInspect(
  args: readonly string[],
  print: (line: string) => void,
): Promise<void> {
  const parsed = parseSubcommand(SUBCOMMAND, args);
  if (parsed.kind === "help") return print(parsed.text);
  const inspection = await inspectPath(parsed.paths[0]);
  if (parsed.flags.json) {
    const { recognition, ...rest } = inspection;
    print(JSON.stringify({
      ...rest,
      kind: recognition?.kind ?? null,
      origin: recognition?.origin ?? null,
      variant: recognition?.variant ?? null,
    }));
  } else for (const line of describe(inspection)) print(line);
}

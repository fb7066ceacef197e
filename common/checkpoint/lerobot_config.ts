/**
 * LeRobot's `config.json`: what the weights beside it were trained to read and to say.
 *
 * A field that is absent has LeRobot's default (`policies/pi0_fast/configuration_pi0_fast.py`); one
 * that Tendon cannot honour is refused, since the policy would run and move the robot wrongly.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { z } from "zod";
import type { ActionMode } from "../config/config.ts";
import { isGripper } from "../policy/action_transform.ts";
import type { NormalizationMode } from "../tokenizer/dialect.ts";
import { CheckpointError } from "./errors.ts";
import { readSmallFile } from "./file_ranges.ts";

/** What LeRobot calls the file. */
export const LEROBOT_CONFIG_FILE = "config.json";

const MAX_CONFIG_BYTES = 1 << 22;
/** LeRobot's `type` of the policies that are read. */
const POLICY_TYPE = "pi0_fast";
/** ALOHA has one arm or two. */
const ACTION_DIMS = [7, 14] as const;
/** LeRobot's own words for what Tendon knows. */
const NORMALIZATIONS: Readonly<Record<string, NormalizationMode>> = {
  MEAN_STD: "mean_std",
  QUANTILES: "lerobot_quantile",
};
/** LeRobot trains with MEAN_STD unless told otherwise. */
const DEFAULT_MAPPING = { STATE: "MEAN_STD", ACTION: "MEAN_STD" };

/** What a `config.json` of LeRobot's π0-FAST says. */
export interface LerobotConfig {
  /** The file. */
  readonly path: string;
  /** H: control steps of a chunk. */
  readonly horizon: number;
  /** A: numbers of an action, and of the state that prompts tell. */
  readonly actionDim: 7 | 14;
  /** Most text tokens of a sequence: those of the prompt and those of the action. */
  readonly maxTokenLen: number;
  /** What the numbers of an action are. */
  readonly actionMode: ActionMode;
  /** How states and actions are normalised. */
  readonly normalization: NormalizationMode;
  /** Highest language ids that no FAST token has. */
  readonly fastSkipTokens: number;
  /** Repository of the language tokenizer. */
  readonly textTokenizer: string;
  /** Repository of FAST's processor. */
  readonly actionTokenizer: string;
  /** Its cameras, in the order in which the model sees them. */
  readonly cameras: readonly string[];
}

const size = z.int().min(1);
const feature = z.looseObject({ type: z.string(), shape: z.array(size).min(1) });
const features = z.record(z.string(), feature);

const configSchema = z.looseObject({
  chunk_size: size,
  output_features: z.looseObject({ action: feature }),
  input_features: features.nullish().transform((found) => found ?? {}),
  use_relative_actions: z.boolean().default(false),
  relative_exclude_joints: z.array(z.string()).default(["gripper"]),
  action_feature_names: z.array(z.string()).nullish(),
  normalization_mapping: z.record(z.string(), z.string()).default(DEFAULT_MAPPING),
  tokenizer_max_length: size.default(200),
  max_action_tokens: size.default(256),
  fast_skip_tokens: z.int().min(0).default(128),
  text_tokenizer_name: z.string().default("google/paligemma-3b-pt-224"),
  action_tokenizer_name: z.string().default("lerobot/fast-action-tokenizer"),
});

type Parsed = z.infer<typeof configSchema>;

/** Parse JSON that LeRobot wrote. */
export function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CheckpointError(
      `Cannot read ${path}: it is not JSON; copy the checkpoint again or use another one.`,
      { cause },
    );
  }
}

/**
 * What a map of LeRobot's normalisation modes says of state and actions.
 *
 * @param mapping Modes by type of feature, such as `STATE`; none means `IDENTITY`.
 * @param path The file, for errors.
 * @throws {CheckpointError} When the two differ, or are of a mode that Tendon does not have.
 */
export function normalizationOf(
  mapping: Readonly<Record<string, string>>,
  path: string,
): NormalizationMode {
  const { STATE: state = "IDENTITY", ACTION: action = "IDENTITY" } = mapping;
  const mode = Object.hasOwn(NORMALIZATIONS, state) ? NORMALIZATIONS[state] : undefined;
  if (state !== action || mode === undefined) {
    throw new CheckpointError(
      `Cannot use ${path}: it normalises STATE by ${state} and ACTION by ${action}, but both must ` +
        `be one of ${Object.keys(NORMALIZATIONS).join(" and ")}, and the same.`,
    );
  }
  return mode;
}

/**
 * Which actions LeRobot makes relative: all whose name contains none of the excluded words, and all
 * of them where it knows no names (`processor/relative_action_processor.py`).
 */
function actionModeOf(config: Parsed, actionDim: number, path: string): ActionMode {
  if (!config.use_relative_actions) return "absolute";
  const { action_feature_names: names, relative_exclude_joints: excluded } = config;
  const words = excluded.filter((word) => word !== "").map((word) => word.toLowerCase());
  const isRelative = Array.from({ length: actionDim }, (_, i) => {
    const name = names?.[i]?.toLowerCase();
    return name === undefined || !words.some((word) => name.includes(word));
  });
  if (isRelative.every((relative) => relative)) return "delta_all";
  if (isRelative.every((relative, i) => relative !== isGripper(i))) return "delta";
  const kept = names?.filter((_, i) => isRelative[i] === false).join(", ");
  throw new CheckpointError(
    `Cannot use ${path}: its actions are relative except ${kept}, but Tendon knows policies with ` +
      `every number relative, with all but the last of each arm (its gripper), and with none.`,
  );
}

function checkFeatures({ output_features, input_features }: Parsed, path: string) {
  const { shape } = output_features.action;
  const actionDim = ACTION_DIMS.find((dim) => shape.length === 1 && shape[0] === dim);
  if (actionDim === undefined) {
    throw new CheckpointError(
      `Cannot use ${path}: its actions have the shape [${shape.join(", ")}], but an ALOHA robot ` +
        `takes ${ACTION_DIMS.join(" numbers (one arm) or ")} (both).`,
    );
  }
  const state = input_features["observation.state"]?.shape;
  if (state !== undefined && (state.length !== 1 || state[0] !== actionDim)) {
    throw new CheckpointError(
      `Cannot use ${path}: its state has the shape [${state.join(", ")}] and its actions ` +
        `[${actionDim}], but Tendon tells a policy of the joints that it moves and of no others.`,
    );
  }
  return actionDim;
}

/**
 * Parse LeRobot's `config.json`.
 *
 * @param bytes Its content.
 * @param path Its name, for errors.
 * @throws {CheckpointError} One sentence, when it is not JSON, of another policy, misses a field, or
 *   asks for something that Tendon does not have.
 */
export function parseLerobotConfig(bytes: Uint8Array, path: string): LerobotConfig {
  const json = parseJson(bytes, path);
  const named = z.looseObject({ type: z.string() }).safeParse(json);
  if (!named.success || named.data.type !== POLICY_TYPE) {
    const found = named.success ? JSON.stringify(named.data.type) : "not given";
    throw new CheckpointError(
      `Cannot use ${path}: the policy's type is ${found}, but only LeRobot's "${POLICY_TYPE}" is ` +
        "read; choose a checkpoint of that policy.",
    );
  }
  const parsed = configSchema.safeParse(json);
  if (!parsed.success) {
    const [{ path: place, message }] = parsed.error.issues;
    throw new CheckpointError(
      `Cannot use ${path}: ${place.join(".")} is wrong (${message}); copy the file again.`,
    );
  }
  const config = parsed.data;
  const actionDim = checkFeatures(config, path);
  return {
    path,
    horizon: config.chunk_size,
    actionDim,
    maxTokenLen: config.tokenizer_max_length + config.max_action_tokens,
    actionMode: actionModeOf(config, actionDim, path),
    normalization: normalizationOf(config.normalization_mapping, path),
    fastSkipTokens: config.fast_skip_tokens,
    textTokenizer: config.text_tokenizer_name,
    actionTokenizer: config.action_tokenizer_name,
    cameras: Object.entries(config.input_features)
      .filter(([, { type }]) => type === "VISUAL")
      .map(([name]) => name.replace(/^observation\.images?\./, "")),
  };
}

/** Levels of folders below the one that was named in which `openTensorSource` finds weights, too. */
const MAX_DEPTH = 2;
const WEIGHTS = ["model.safetensors", "model.safetensors.index.json"];

async function foldersWith(folder: string, depth: number): Promise<string[]> {
  const files = new Set<string>();
  const below: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) below.push(name);
    else files.add(name);
  }
  if (WEIGHTS.some((name) => files.has(name))) return [folder];
  if (depth === 0) return [];
  const found: string[] = [];
  for (const name of below.sort()) found.push(...await foldersWith(join(folder, name), depth - 1));
  return found;
}

/**
 * The folder that holds Hugging Face weights and whatever lies beside them: the named one, the one of
 * the named file, or the only one below.
 *
 * @param path A checkpoint's file or folder.
 * @returns The folder; undefined when there is none, or more than one.
 */
export async function weightsFolder(path: string): Promise<string | undefined> {
  try {
    if ((await Deno.stat(path)).isFile) {
      return basename(path).includes(".safetensors") ? dirname(path) : undefined;
    }
    const found = await foldersWith(path, MAX_DEPTH);
    return found.length === 1 ? found[0] : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Read a file of LeRobot's beside the weights.
 *
 * @param path A checkpoint's file or folder.
 * @param name The file's name.
 * @returns Its content and path; undefined when there is none.
 * @throws {CheckpointError} When it cannot be read or is far too large.
 */
export async function readBeside(
  path: string,
  name: string,
): Promise<{ readonly bytes: Uint8Array; readonly path: string } | undefined> {
  const folder = await weightsFolder(path);
  if (folder === undefined) return undefined;
  const file = join(folder, name);
  try {
    if (!(await Deno.stat(file)).isFile) return undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  return { bytes: await readSmallFile(file, MAX_CONFIG_BYTES), path: file };
}

/**
 * Read the `config.json` beside weights of LeRobot's.
 *
 * @param path A checkpoint's file or folder.
 * @returns What it says; undefined when there is none.
 * @throws {CheckpointError} As {@link parseLerobotConfig}.
 */
export async function readLerobotConfig(path: string): Promise<LerobotConfig | undefined> {
  const found = await readBeside(path, LEROBOT_CONFIG_FILE);
  return found && parseLerobotConfig(found.bytes, found.path);
}

/**
 * As {@link readLerobotConfig}, for whoever only tells of it: somebody else says what is wrong with one
 * that cannot be used.
 *
 * @param path A checkpoint's file or folder.
 * @returns What it says; undefined when there is none, or it cannot be used.
 */
export async function lerobotConfigIfGood(path: string): Promise<LerobotConfig | undefined> {
  try {
    return await readLerobotConfig(path);
  } catch (error) {
    if (error instanceof CheckpointError) return undefined;
    throw error;
  }
}

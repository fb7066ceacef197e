/**
 * A LeRobot π0-FAST folder for tests: tiny weights under LeRobot's names, and the files that it saves
 * beside them.
 *
 * @module
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { backboneSpecs } from "../policy/parameters.ts";
import { VARIANTS } from "../policy/variants.ts";
import { randomSource } from "../tokenizer/testing.ts";
import type { HostTensor } from "../types.ts";
import { planHuggingFace } from "./names/hugging_face.ts";
import { writeSafetensors } from "./safetensors.ts";
import { elementCount } from "./safetensors_header.ts";

/** JSON of a file, to be changed by a test. */
export type JsonRecord = Record<string, unknown>;

/** H of {@link writeLerobotFolder}. */
export const LEROBOT_HORIZON = 10;
/** A of {@link writeLerobotFolder}. */
export const LEROBOT_ACTION_DIM = 14;
/** Statistics of {@link writeLerobotFolder}; every dimension has others. */
export const LEROBOT_STATS = {
  state: { mean: 0.1, std: 0.5 },
  action: { mean: -0.2, std: 0.25 },
} as const;

const STATE_FILE = "policy_preprocessor_step_3_normalizer_processor.safetensors";
const PREFIX = "model.paligemma_with_expert.paligemma.";
const TOKENIZERS = fileURLToPath(new URL("../pretrained/reach/assets", import.meta.url));

/** What a folder shall be like. */
export interface LerobotFolder {
  /** Fields of `config.json` to replace; undefined removes one. */
  readonly config?: JsonRecord;
  /** Statistics by key to replace, such as `action.q01`; undefined removes one. */
  readonly stats?: Readonly<Record<string, readonly number[] | undefined>>;
  /** Fields of the normaliser in `policy_preprocessor.json` to replace. */
  readonly normalizer?: JsonRecord;
  /** Whether FAST's and the language tokenizer lie in `assets/`; they do by default. */
  readonly hasTokenizers?: boolean;
}

/** Weights of the tiny variant as LeRobot names and shapes them. */
export function lerobotWeights(): HostTensor[] {
  const variant = VARIANTS.tiny;
  const names = {
    origin: "lerobot",
    text: `${PREFIX}model.language_model.`,
    vision: `${PREFIX}model.vision_tower.`,
    projector: `${PREFIX}model.`,
    embedding: `${PREFIX}model.language_model.embed_tokens.weight`,
    head: undefined,
  } as const;
  const wanted = backboneSpecs(variant).map(({ path, shape }) => ({ name: path, shape }));
  const random = randomSource(7);
  return planHuggingFace(names, [], variant, wanted).wanted.map(({ name, shape }) => ({
    name,
    shape,
    data: Float32Array.from({ length: elementCount(shape) }, () => 0.2 * (random() - 0.5)),
  }));
}

/** LeRobot's `config.json` for the tiny variant. */
export function lerobotConfig(changes: JsonRecord = {}): JsonRecord {
  const picture = { type: "VISUAL", shape: [3, 56, 56] };
  return {
    type: "pi0_fast",
    chunk_size: LEROBOT_HORIZON,
    n_action_steps: LEROBOT_HORIZON,
    input_features: {
      "observation.images.cam_high": picture,
      "observation.images.cam_left_wrist": picture,
      "observation.images.cam_right_wrist": picture,
      "observation.state": { type: "STATE", shape: [LEROBOT_ACTION_DIM] },
    },
    output_features: { action: { type: "ACTION", shape: [LEROBOT_ACTION_DIM] } },
    use_relative_actions: false,
    relative_exclude_joints: ["gripper"],
    action_feature_names: null,
    normalization_mapping: { VISUAL: "IDENTITY", STATE: "MEAN_STD", ACTION: "MEAN_STD" },
    tokenizer_max_length: 64,
    max_action_tokens: 36,
    fast_skip_tokens: VARIANTS.tiny.fastSkipTokens,
    text_tokenizer_name: "google/paligemma-3b-pt-224",
    action_tokenizer_name: "lerobot/fast-action-tokenizer",
    ...changes,
  };
}

/** `policy_preprocessor.json`. */
export function lerobotPipeline(changes: JsonRecord = {}): JsonRecord {
  return {
    name: "policy_preprocessor",
    steps: [
      { registry_name: "rename_observations_processor", config: { rename_map: {} } },
      { registry_name: "to_batch_processor", config: {} },
      { registry_name: "relative_actions_processor", config: { enabled: false } },
      {
        registry_name: "normalizer_processor",
        config: { eps: 1e-8, features: {}, norm_map: { STATE: "MEAN_STD", ACTION: "MEAN_STD" } },
        state_file: STATE_FILE,
        ...changes,
      },
    ],
  };
}

function statistics(changes: LerobotFolder["stats"] = {}): HostTensor[] {
  const list = (x: number) => Array.from({ length: LEROBOT_ACTION_DIM }, (_, i) => x + i / 100);
  const { state, action } = LEROBOT_STATS;
  const found: Record<string, readonly number[] | undefined> = {
    "observation.state.mean": list(state.mean),
    "observation.state.std": list(state.std),
    "action.mean": list(action.mean),
    "action.std": list(action.std),
    "action.min": list(-1),
    "observation.images.cam_high.mean": [0.5],
    ...changes,
  };
  return Object.entries(found).flatMap(([name, data]) =>
    data === undefined ? [] : [{ name, shape: [data.length], data: Float32Array.from(data) }]
  );
}

/**
 * Write a LeRobot folder.
 *
 * @param dir The folder; made if it is not there.
 * @param folder What it shall be like.
 */
export async function writeLerobotFolder(dir: string, folder: LerobotFolder = {}): Promise<void> {
  const { config, stats, normalizer, hasTokenizers = true } = folder;
  await Deno.mkdir(dir, { recursive: true });
  const write = (name: string, json: unknown) =>
    Deno.writeTextFile(join(dir, name), JSON.stringify(json, null, 4));
  await write("config.json", lerobotConfig(config));
  await write("policy_preprocessor.json", lerobotPipeline(normalizer));
  await writeSafetensors(join(dir, STATE_FILE), statistics(stats));
  await writeSafetensors(join(dir, "model.safetensors"), lerobotWeights());
  if (!hasTokenizers) return;
  for (const name of ["fast", "language"]) {
    await Deno.mkdir(join(dir, "assets", name), { recursive: true });
    for await (const { name: file } of Deno.readDir(join(TOKENIZERS, name))) {
      await Deno.copyFile(join(TOKENIZERS, name, file), join(dir, "assets", name, file));
    }
  }
}

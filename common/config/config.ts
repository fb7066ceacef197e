/**
 * The type of the whole configuration, one flat record of fields. What each field means, its unit
 * and its range stand once, in `schema.ts`, from where the command lines' help is generated.
 *
 * @module
 */

import { DIALECT_NAMES } from "../tokenizer/dialect.ts";
import type { PpoConfig } from "./ppo_config.ts";

export * from "./ppo_config.ts";

/** Rewards of `transfer_cube`. */
export const TRANSFER_CUBE_REWARDS = ["stage", "gain"] as const;
/** One of {@link TRANSFER_CUBE_REWARDS}. */
export type TransferCubeReward = (typeof TRANSFER_CUBE_REWARDS)[number];
/** Simulated tasks. */
export const TASKS = ["reach", "transfer_cube"] as const;

/** One of {@link TASKS}. */
export type Task = (typeof TASKS)[number];

/** Sizes of the policy, named as in openpi where openpi has them. */
export const VARIANTS = ["tiny", "gemma_2b", "gemma_2b_lora"] as const;

/** One of {@link VARIANTS}. */
export type Variant = (typeof VARIANTS)[number];

/**
 * What the critic reads: the state before the first action token, the mean over the states of a
 * chunk's tokens, or all states before the first action token, pooled by attention.
 */
export const VALUE_INPUTS = ["observation", "chunk", "attention"] as const;

/** One of {@link VALUE_INPUTS}. */
export type ValueInput = (typeof VALUE_INPUTS)[number];

/**
 * Rotary position of a token that is decoded: `openpi` is one past the natural one (as openpi's
 * sampler has it), `variant` leaves it to the checkpoint, its dialect and its variant.
 */
export const DECODE_POSITIONS = ["variant", "openpi", "natural"] as const;

/** One of {@link DECODE_POSITIONS}. */
export type DecodePositions = (typeof DECODE_POSITIONS)[number];

/** Whose conventions a policy speaks; `auto` leaves it to the checkpoint, and else it is openpi's. */
export const DIALECT_CHOICES = ["auto", ...DIALECT_NAMES] as const;

/** One of {@link DIALECT_CHOICES}. */
export type DialectChoice = (typeof DIALECT_CHOICES)[number];

/**
 * What the numbers of an action are, before they are normalised: `delta` is differences from the
 * state at the start of the chunk for joints and absolute values for grippers, as openpi's ALOHA
 * configurations have it; `delta_all` is differences for grippers, too; `absolute` is targets.
 */
export const ACTION_MODES = ["delta", "delta_all", "absolute"] as const;

/** One of {@link ACTION_MODES}. */
export type ActionMode = (typeof ACTION_MODES)[number];

/** As {@link ACTION_MODES}; `auto` leaves it to the checkpoint, and else it is `delta`. */
export const ACTION_MODE_CHOICES = ["auto", ...ACTION_MODES] as const;

/** One of {@link ACTION_MODE_CHOICES}. */
export type ActionModeChoice = (typeof ACTION_MODE_CHOICES)[number];

/** Where tensors are computed; `auto` lets the program choose. */
export const DEVICES = ["auto", "wasm", "webgpu", "cpu"] as const;

/** One of {@link DEVICES}. */
export type Device = (typeof DEVICES)[number];

/** How the policy's matrices are kept; the variant says which stay in float32 all the same. */
export const PRECISIONS = ["float32", "int8", "int4"] as const;

/** One of {@link PRECISIONS}. */
export type Precision = (typeof PRECISIONS)[number];

/**
 * What decodes a policy's chunks: the engine on the GPU, or tfjs. `auto` is the engine where tensors
 * are computed on a GPU and it can serve the policy.
 */
export const DECODER_CHOICES = ["auto", "engine", "tfjs"] as const;

/** One of {@link DECODER_CHOICES}. */
export type DecoderChoice = (typeof DECODER_CHOICES)[number];

/** What happens when a checkpoint cannot be loaded; `auto` is random in simulation only. */
export const ON_LOAD_FAILURE = ["auto", "random", "abort"] as const;

/** One of {@link ON_LOAD_FAILURE}. */
export type OnLoadFailure = (typeof ON_LOAD_FAILURE)[number];

/** What a run of an experiment is called, starts from and leaves behind. */
export interface ExperimentConfig {
  /** Name of the experiment and of its folder. */
  readonly expName: string;
  /** Seed of every random number of the run. */
  readonly seed: number;
  /** Simulated task. */
  readonly task: Task;
  /** What a control step of the simulated `transfer_cube` earns. */
  readonly transferCubeReward: TransferCubeReward;
  /** Folder of the checkpoint to start from; empty for the command's own. */
  readonly checkpoint: string;
  /** What happens when the checkpoint cannot be loaded. */
  readonly onLoadFailure: OnLoadFailure;
  /** Folder under which experiments write their checkpoints. */
  readonly checkpointDir: string;
  /** Policy updates between two checkpoints; 0 writes the last one only. */
  readonly saveEveryUpdates: number;
  /** Whether the run continues its experiment's newest checkpoint. */
  readonly resume: boolean;
  /** Whether metrics go to Weights & Biases when an API key is present. */
  readonly wandb: boolean;
  /** Weights & Biases project. */
  readonly wandbProject: string;
  /** SQLite database; empty for a file in the experiment's folder. */
  readonly databaseUrl: string;
}

/** The policy: its size, its chunks and its critic. */
export interface PolicyConfig {
  /** Size of the network. */
  readonly variant: Variant;
  /** A: numbers of one action; 7 is one arm, 14 both. */
  readonly actionDim: 7 | 14;
  /** H: control steps of a chunk. */
  readonly horizon: number;
  /** Most text tokens (prompt and action) of a sequence. */
  readonly maxTokenLen: number;
  /** Conventions of prompt, normalisation and decoding that the weights were trained with. */
  readonly dialect: DialectChoice;
  /** What the numbers of an action are, as the weights were trained. */
  readonly actionMode: ActionModeChoice;
  /** Rotary positions of decoded tokens. */
  readonly decodePositions: DecodePositions;
  /** Whether states and actions are in the convention of openpi's base models. */
  readonly adaptToPi: boolean;
  /** Width of the value head's hidden layer. */
  readonly valueHeadHiddenDim: number;
  /** Most action tokens that a chunk-conditioned value head reads. */
  readonly maxValueSteps: number;
  /** What the critic reads. */
  readonly valueInput: ValueInput;
  /** Whether the value loss trains the value head alone, not the backbone that it reads. */
  readonly isCriticDetached: boolean;
  /** Sampling temperature. */
  readonly temperature: number;
  /** Whether only tokens are drawn with which a chunk still decodes. */
  readonly constrainedDecoding: boolean;
  /** Where tensors are computed. */
  readonly device: Device;
  /** What decodes the chunks of a policy that acts. */
  readonly decoder: DecoderChoice;
  /** How the policy's matrices are kept. */
  readonly precision: Precision;
}

/** How experience is collected. */
export interface CollectionConfig {
  /** Environments in one controller. */
  readonly numEnvs: number;
  /** Time limit of an episode, in control steps. */
  readonly maxEpisodeSteps: number;
  /** Most policy versions that a chunk may be behind when it is trained on. */
  readonly maxStaleness: number;
  /** Versions that a controller stays behind the newest weights, on purpose; 0 is none. */
  readonly holdWeights: number;
  /** Control steps of a chunk that are executed; 0 is all of them. */
  readonly executeSteps: number;
  /** The same at the end of the run, reached in a line; 0 stays with `executeSteps`. */
  readonly executeStepsFinal: number;
  /** Mean entropy of a chunk's tokens above which only `executeMinSteps` are executed; 0 is off. */
  readonly executeUncertainty: number;
  /** Control steps that are executed of a chunk that the policy is unsure of. */
  readonly executeMinSteps: number;
}

/** How controller, learner and people reach each other. */
export interface NetworkConfig {
  /** Address that servers bind to. */
  readonly host: string;
  /** The learner's TCP port; 0 takes any free one. */
  readonly port: number;
  /** The controller's TCP port; 0 takes any free one. */
  readonly controllerPort: number;
  /** The learner's WebSocket endpoint, as the controller dials it. */
  readonly learnerUrl: string;
  /** File that holds the token every peer must show; empty for none. */
  readonly tokenFile: string;
  /** Chunks that a controller keeps while they are not acknowledged. */
  readonly outboxCapacity: number;
  /** Largest message, in MiB. */
  readonly maxMessageMib: number;
  /** Controllers that may be connected at once. */
  readonly maxControllers: number;
}

/** The whole configuration. */
export interface Config
  extends ExperimentConfig, PolicyConfig, CollectionConfig, PpoConfig, NetworkConfig {}

/** Name of a field of {@link Config}. */
export type ConfigField = keyof Config;

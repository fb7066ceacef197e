/**
 * The one schema of the configuration: every field with its meaning, unit and range. Command-line
 * flags, their help and their checks are generated from it through {@link CONFIG_FIELDS}.
 *
 * @module
 */

import { z } from "zod";
import {
  ACTION_MODE_CHOICES,
  type Config,
  type ConfigField,
  DECODE_POSITIONS,
  DECODER_CHOICES,
  DEVICES,
  DIALECT_CHOICES,
  ON_LOAD_FAILURE,
  PRECISIONS,
  TASKS,
  TRANSFER_CUBE_REWARDS,
  VALUE_INPUTS,
  VARIANTS,
} from "./config.ts";
import { field, text } from "./field.ts";
import { type FieldSpec, fieldSpec } from "./field_spec.ts";
import { PPO_SHAPE as ppo } from "./ppo_schema.ts";

const MAX_NAME_LENGTH = 80;
const MAX_PORT = 65535;

const experiment = {
  expName: text(
    new RegExp(`^[A-Za-z0-9][A-Za-z0-9._-]{0,${MAX_NAME_LENGTH - 1}}$`),
    `a name of at most ${MAX_NAME_LENGTH} letters, digits, dots, hyphens and underscores`,
    "",
    "Name of the experiment; its checkpoints, metrics and database lie in a folder of this name.",
  ),
  seed: field(z.int().min(0).max(0xffffffff), "", "Seed of every random number of the run."),
  task: field(z.enum(TASKS), "", "Simulated task that the robot practises."),
  transferCubeReward: field(
    z.enum(TRANSFER_CUBE_REWARDS),
    "",
    "What a control step of transfer_cube earns: stage is gym-aloha's, the stage that holds, at every " +
      "step; gain is by how much the highest stage has risen, so that slowness does not pay.",
  ),
  checkpoint: field(
    z.string(),
    "path",
    "Folder of the checkpoint to start from; empty for the command's own choice.",
  ),
  onLoadFailure: field(
    z.enum(ON_LOAD_FAILURE),
    "",
    "What happens when the checkpoint cannot be loaded: random goes on with random weights and a " +
      "loud warning, abort ends the program; auto is random in simulation and abort for a real " +
      "robot, which takes nothing else. Resuming and measuring always abort.",
  ),
  checkpointDir: field(
    z.string().min(1),
    "path",
    "Folder under which each experiment writes its checkpoints.",
  ),
  saveEveryUpdates: field(
    z.int().min(0),
    "updates",
    "Policy updates between two checkpoints; 0 writes one at the end only.",
  ),
  resume: field(z.boolean(), "", "Continue from the experiment's newest checkpoint."),
  wandb: field(
    z.boolean(),
    "",
    "Send metrics to Weights & Biases when an API key is present; --no-wandb never does.",
  ),
  wandbProject: field(z.string().min(1), "", "Weights & Biases project of the run."),
  databaseUrl: text(
    /^(?!(?!sqlite:)[A-Za-z][A-Za-z0-9+.-]+:)/,
    "an SQLite file as a path or as sqlite:PATH",
    "path",
    "SQLite database of runs, episodes and checkpoints; empty for a file in the experiment's folder.",
  ),
};

const policy = {
  variant: field(z.enum(VARIANTS), "", "Size of the policy network."),
  actionDim: field(
    z.literal([7, 14]),
    "",
    "Numbers of one action: 7 moves one arm, 14 moves both.",
  ),
  horizon: field(z.int().min(1).max(100), "control steps", "Control steps of one action chunk."),
  maxTokenLen: field(
    z.int().min(16).max(1024),
    "tokens",
    "Most text tokens of a sequence, prompt and action together; image tokens are not counted.",
  ),
  dialect: field(
    z.enum(DIALECT_CHOICES),
    "",
    "Whose conventions of prompt, normalisation and decoding the weights were trained with; auto is " +
      "what the checkpoint says or, for one from elsewhere, whose it is.",
  ),
  actionMode: field(
    z.enum(ACTION_MODE_CHOICES),
    "",
    "What actions are: delta is differences from the state for joints and absolute values for " +
      "grippers, delta_all is differences for grippers too, absolute is targets; auto is what the " +
      "checkpoint says, or else delta.",
  ),
  decodePositions: field(
    z.enum(DECODE_POSITIONS),
    "",
    "Rotary position of decoded tokens: openpi's, which is one too far, the natural one, or what " +
      "the checkpoint's variant has.",
  ),
  adaptToPi: field(
    z.boolean(),
    "",
    "Turn ALOHA's joint signs and gripper units into those that openpi's base models were trained " +
      "with.",
  ),
  valueHeadHiddenDim: field(
    z.int().min(1).max(8192),
    "units",
    "Width of the value head's hidden layer.",
  ),
  maxValueSteps: field(
    z.int().min(1).max(1024),
    "tokens",
    "Most action tokens that the value head reads with --value-input chunk.",
  ),
  valueInput: field(
    z.enum(VALUE_INPUTS),
    "",
    "What the critic judges: the observation by one state of the language model, by all of them " +
      "pooled by attention, or the observation with the sampled chunk.",
  ),
  isCriticDetached: field(
    z.boolean(),
    "",
    "Let the value loss train the value head alone, not the backbone that it reads.",
  ),
  temperature: field(
    z.number().gt(0).max(10),
    "",
    "Sampling temperature of action tokens; 1 samples the policy as it is.",
  ),
  constrainedDecoding: field(
    z.boolean(),
    "",
    "Draw only tokens with which a chunk still decodes; --no-constrained-decoding draws any, to try " +
      "what that is worth: the robot then moves to the middle of its range where a chunk does not.",
  ),
  device: field(z.enum(DEVICES), "", "Where tensors are computed; auto picks what is there."),
  decoder: field(
    z.enum(DECODER_CHOICES),
    "",
    "What decodes chunks of a policy that acts: the decode engine, which takes --device webgpu, or " +
      "tfjs; auto is the engine where tensors are computed on a GPU and it can serve the policy.",
  ),
  precision: field(
    z.enum(PRECISIONS),
    "",
    "How the policy's matrices are kept: float32, or 8 or 4 bits in groups of 32 with a scale each, " +
      "which only adapters and the value head can be trained through. A checkpoint that is stored " +
      "in few bits stays so.",
  ),
};

const collection = {
  numEnvs: field(z.int().min(1).max(1024), "environments", "Environments of one controller."),
  maxEpisodeSteps: field(
    z.int().min(1).max(1_000_000),
    "control steps",
    "Time limit of an episode; a control step is 20 ms.",
  ),
  maxStaleness: field(
    z.int().min(0).max(1000),
    "policy versions",
    "How many versions a chunk's policy may be behind the learner's; older chunks are dropped.",
  ),
  holdWeights: field(
    z.int().min(0).max(1000),
    "versions",
    "Versions that a controller stays behind the newest weights, to try what stale data does; 0 uses " +
      "the newest.",
  ),
  executeSteps: field(
    z.int().min(0).max(100),
    "control steps",
    "Control steps of a chunk that are executed before the next one is inferred; 0 is all of them.",
  ),
  executeStepsFinal: field(
    z.int().min(0).max(100),
    "control steps",
    "The same at the end of the run: it moves in a line from --execute-steps; 0 stays there.",
  ),
  executeUncertainty: field(
    z.number().min(0).max(20),
    "nats per token",
    "Mean entropy of a chunk's tokens above which only --execute-min-steps are executed; 0 is off.",
  ),
  executeMinSteps: field(
    z.int().min(1).max(100),
    "control steps",
    "Control steps that are executed of a chunk that the policy is unsure of.",
  ),
};

const network = {
  host: text(
    /^[^\s/]+$/,
    "an address to bind to, such as 127.0.0.1 or 0.0.0.0",
    "address",
    "Address that the servers bind to; any but loopback needs a token file.",
  ),
  port: field(
    z.int().min(0).max(MAX_PORT),
    "",
    "TCP port of the learner; 0 takes any free one.",
  ),
  controllerPort: field(
    z.int().min(0).max(MAX_PORT),
    "",
    "TCP port of the controller's status page; 0 takes any free one.",
  ),
  learnerUrl: text(
    /^wss?:\/\/[^\s/]+(\/\S*)?$/,
    "a WebSocket address such as ws://127.0.0.1:8765/ws",
    "URL",
    "The learner's endpoint, as the controller dials it.",
  ),
  tokenFile: field(
    z.string(),
    "path",
    "File holding the token that every peer must show; empty asks for none.",
  ),
  outboxCapacity: field(
    z.int().min(1).max(1_000_000),
    "chunks",
    "Chunks that a controller keeps until they are acknowledged; the oldest make room.",
  ),
  maxMessageMib: field(
    z.int().min(1).max(2047),
    "MiB",
    "Largest message that is sent or accepted.",
  ),
  maxControllers: field(
    z.int().min(1).max(1024),
    "controllers",
    "Controllers that may be connected to the learner at once.",
  ),
};

const groups = {
  Experiment: experiment,
  Policy: policy,
  Collection: collection,
  PPO: ppo,
  Network: network,
} as const;

const shape = { ...experiment, ...policy, ...collection, ...ppo, ...network } satisfies {
  [K in ConfigField]: z.ZodType<Config[K]>;
};

const schema = z.strictObject(shape);

/** Every field of the configuration, in the order in which help shows them. */
export const CONFIG_FIELDS: readonly FieldSpec[] = Object.entries(groups).flatMap(
  ([group, fields]) =>
    Object.entries(fields).map(([name, type]) =>
      fieldSpec(name as ConfigField, group, z.toJSONSchema(type))
    ),
);

/** One thing wrong with a configuration. */
export interface FieldProblem {
  /** Name of the field, which may be one that does not exist. */
  readonly field: string;
  /** The value found; undefined when the field is missing. */
  readonly value: unknown;
  /** What the schema says about the field; undefined for an unknown field. */
  readonly spec: FieldSpec | undefined;
}

/** Outcome of {@link checkFields}. */
export type FieldCheck =
  | { readonly config: Config; readonly problems: readonly [] }
  | { readonly config: undefined; readonly problems: readonly FieldProblem[] };

/**
 * Check every field of a configuration by itself: type, range, nothing missing, nothing unknown.
 *
 * @param input Anything, such as parsed JSON or merged flags.
 * @returns The configuration, or every field that is wrong.
 */
export function checkFields(input: unknown): FieldCheck {
  const result = schema.safeParse(input);
  if (result.success) return { config: result.data, problems: [] };
  const names = new Set(result.error.issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") return issue.keys;
    return issue.path.length > 0 ? [String(issue.path[0])] : ["configuration"];
  }));
  const values = (typeof input === "object" && input !== null ? input : {}) as Record<
    string,
    unknown
  >;
  const problems = [...names].map((name) => ({
    field: name,
    value: values[name],
    spec: CONFIG_FIELDS.find((spec) => spec.name === name),
  }));
  return { config: undefined, problems };
}

/**
 * The command line of `deno task pretrain`.
 *
 * @module
 */

import type { parseCommand } from "../../common/cli/flags.ts";

/** What `deno task pretrain` takes. */
export const COMMAND = {
  name: "deno task pretrain",
  summary: "Record scripted demonstrations, fit the tokenizer, train by imitation and write an " +
    "imitation checkpoint.",
  preset: "demo",
  fields: [
    "expName",
    "seed",
    "task",
    "checkpoint",
    "checkpointDir",
    "variant",
    "actionDim",
    "horizon",
    "maxTokenLen",
    "dialect",
    "actionMode",
    "decodePositions",
    "adaptToPi",
    "maxEpisodeSteps",
    "device",
  ],
  flags: {
    weightsFrom: {
      kind: "string",
      default: "",
      description: "Checkpoint of the same variant whose weights training starts from, with new " +
        "tokenizers and statistics, such as that of another task; empty draws them.",
    },
    episodes: {
      kind: "integer",
      default: 4000,
      minimum: 1,
      unit: "episodes",
      description: "Demonstrations to record.",
    },
    stride: {
      kind: "integer",
      default: 4,
      minimum: 1,
      unit: "control steps",
      description: "Steps between two training examples of a demonstration of reach; those of " +
        "transfer_cube are a chunk apart.",
    },
    steps: {
      kind: "integer",
      default: 2000,
      minimum: 1,
      unit: "gradient steps",
      description: "Length of the training.",
    },
    batch: {
      kind: "integer",
      default: 64,
      minimum: 1,
      unit: "examples",
      description: "Examples of one gradient step.",
    },
    imitationLearningRate: {
      kind: "number",
      default: 2e-3,
      minimum: 0,
      maximum: 1,
      description: "Peak step size of Adam.",
    },
    aimNoise: {
      kind: "number",
      default: 0.008,
      minimum: 0,
      maximum: 1,
      unit: "m",
      description: "Standard deviation of where the demonstrator of reach aims, along each axis.",
    },
    aimBias: {
      kind: "number",
      default: 0.035,
      minimum: -0.2,
      maximum: 0.2,
      unit: "m",
      description: "How far above the ball the demonstrator of reach aims: a constant error.",
    },
    graspBias: {
      kind: "number",
      default: 0,
      minimum: -0.01,
      maximum: 0.1,
      unit: "m",
      description: "How far above its right place the demonstrator of transfer_cube grasps the " +
        "cube: a constant error.",
    },
    disturbShare: {
      kind: "number",
      default: 0.4,
      minimum: 0,
      maximum: 1,
      description:
        "Share of the chunks of transfer_cube that are spoiled while recording, so that " +
        "demonstrations show ways back.",
    },
    disturbJoints: {
      kind: "number",
      default: 0.12,
      minimum: 0,
      maximum: 1,
      unit: "rad",
      description: "Standard deviation of a spoiled chunk's offset on each joint.",
    },
    disturbGrippers: {
      kind: "number",
      default: 0.08,
      minimum: 0,
      maximum: 1,
      description: "Share of the spoiled chunks in which a gripper opens or closes at random.",
    },
    ownShare: {
      kind: "number",
      default: 0.5,
      minimum: 0,
      maximum: 1,
      description:
        "Share of the chunks of transfer_cube that a policy which is there already (--checkpoint, " +
        "--rounds) drives itself while recording.",
    },
    ownTemperature: {
      kind: "number",
      default: 0.5,
      minimum: 0,
      maximum: 10,
      description: "Sampling temperature of the chunks that it drives itself; 0 is greedy.",
    },
    rounds: {
      kind: "integer",
      default: 1,
      minimum: 1,
      description:
        "Times that examples of transfer_cube are recorded, each with the policy as it is by " +
        "then; episodes and gradient steps are divided among them, and examples add up.",
    },
    sceneWeight: {
      kind: "number",
      default: 1,
      minimum: 0,
      maximum: 100,
      description: "Weight of a second loss of transfer_cube: the policy is also asked where the " +
        "cube is; 0 does not ask.",
    },
    boxMargin: {
      kind: "number",
      default: 0.025,
      minimum: -0.05,
      maximum: 0.1,
      unit: "m",
      description: "How far beyond the task's box demonstrations of reach put the ball.",
    },
    scatterShare: {
      kind: "number",
      default: 0,
      minimum: 0,
      maximum: 1,
      description:
        "Share of the demonstrations of reach that begin with the gripper anywhere within 12 cm " +
        "of the ball along each axis, so that they show ways back.",
    },
    jointNoise: {
      kind: "number",
      default: 0,
      minimum: 0,
      maximum: 1,
      unit: "rad",
      description: "Standard deviation of the noise on each demonstrated joint.",
    },
    speed: {
      kind: "number",
      default: 1,
      minimum: 0.1,
      maximum: 3,
      description: "Pace of the demonstrator; 1 is its normal one.",
    },
    fastVocab: {
      kind: "integer",
      default: 256,
      minimum: 16,
      unit: "tokens",
      description: "Size of the action tokenizer's vocabulary.",
    },
    fastScale: {
      kind: "number",
      default: 10,
      minimum: 1,
      maximum: 100,
      description:
        "Resolution of the action tokenizer: frequencies are multiplied by it and rounded.",
    },
    saveDemonstrations: {
      kind: "string",
      default: "",
      unit: "path",
      description:
        "File to write the demonstrations to, for the learner's --demonstrations; empty " +
        "for none.",
    },
    evalEpisodes: {
      kind: "integer",
      default: 100,
      minimum: 0,
      unit: "episodes",
      description: "Held-out episodes to measure the result on.",
    },
  },
} as const satisfies Parameters<typeof parseCommand>[0];

/** Its own flags, read. */
export type Flags = Extract<
  ReturnType<typeof parseCommand<typeof COMMAND.flags>>,
  { kind: "run" }
>["flags"];

/**
 * Named configurations: `debug` to see that everything runs, `full` for the true model, `demo` and
 * `transfer_cube` for the small ones that ship with the project.
 *
 * @module
 */

import type { Config } from "./config.ts";

/** Names of the presets. */
export const PRESET_NAMES = ["debug", "full", "demo", "transfer_cube"] as const;

/** One of {@link PRESET_NAMES}. */
export type PresetName = (typeof PRESET_NAMES)[number];

/** What the presets share. */
const BASE = {
  expName: "run",
  seed: 0,
  task: "reach",
  transferCubeReward: "gain",
  checkpoint: "",
  onLoadFailure: "auto",
  checkpointDir: "checkpoints",
  saveEveryUpdates: 10,
  resume: false,
  wandb: true,
  wandbProject: "tendon",
  databaseUrl: "",

  maxTokenLen: 180,
  dialect: "auto",
  actionMode: "auto",
  decodePositions: "variant",
  adaptToPi: false,
  valueHeadHiddenDim: 128,
  maxValueSteps: 32,
  valueInput: "observation",
  isCriticDetached: true,
  temperature: 1,
  constrainedDecoding: true,
  device: "auto",
  decoder: "auto",
  precision: "float32",

  numEnvs: 4,
  maxEpisodeSteps: 400, // gym-aloha's limit: 8 s at 50 Hz
  maxStaleness: 2,
  holdWeights: 0,
  executeSteps: 0,
  executeStepsFinal: 0,
  executeUncertainty: 0,
  executeMinSteps: 1,

  updates: 0,
  valueLearningRate: 1e-3,
  finalLearningRateFraction: 1,
  warmUpUpdates: 0,
  learningRateSchedule: "linear",
  weightDecay: 0,
  microBatchSize: 0,
  trainScope: "auto",
  ratioLevel: "chunk",
  clipRange: 0.2,
  clipRangeHigh: 0.28, // DAPO's
  dualClip: 3, // of its paper
  decoupled: true,
  tokenWeightCap: 2,
  chunkWeightCap: 5, // a product over tens of tokens
  discounting: "step",
  gamma: 0.999, // 20 s at 50 Hz; 0.99 over a chunk of 10 steps
  gaeLambda: 0.95,
  valueLossWeight: 0.5,
  valueLoss: "huber",
  huberDelta: 10, // MAPPO's, in deviations of the returns
  valueNormalization: true,
  criticWarmUpUpdates: 0, // two cost `reach` 3,000 steps on the way to 90 %, and gained nothing
  valueClipRange: 0,
  entropyWeight: 0,
  maxGradNorm: 1,
  adamBeta1: 0.9,
  adamBeta2: 0.95,
  adamEpsilon: 1e-8,
  targetKl: 0,
  klWeight: 0,
  imitationKlTarget: 0,
  imitationWeight: 0,
  demonstrations: "",
  environmentRewardWeight: 1,
  humanRewardWeight: 1,
  intrinsicRewardWeight: 0,
  trainVision: true,
  normalizeAdvantages: true,

  host: "127.0.0.1",
  port: 8765,
  controllerPort: 8766,
  learnerUrl: "ws://127.0.0.1:8765/ws",
  tokenFile: "",
  outboxCapacity: 256,
  maxMessageMib: 64,
  maxControllers: 8,
} as const satisfies Partial<Config>;

/** `reach` with the small policy. */
const DEMO: Config = {
  ...BASE,
  expName: "demo",
  variant: "tiny",
  device: "wasm",
  actionDim: 14,
  horizon: 10,
  maxTokenLen: 64,
  numEnvs: 32,
  maxEpisodeSteps: 50,
  totalSteps: 500_000,
  updates: 40,
  // Simulated chunks are cheap: one pass over many fresh ones learns more than two over fewer.
  chunksPerUpdate: 512,
  epochs: 1,
  batchSize: 64,
  learningRate: 2e-4,
  valueLearningRate: 2e-3,
  finalLearningRateFraction: 0.1,
  // Reaching pays off within a few chunks: a short horizon keeps the advantages' noise low.
  discounting: "chunk",
  gamma: 0.9,
  gaeLambda: 0.8,
  trainVision: false,
};

/** The presets. */
export const PRESETS: Readonly<Record<PresetName, Config>> = {
  debug: {
    ...BASE,
    variant: "tiny",
    device: "wasm",
    actionDim: 7,
    horizon: 10,
    maxEpisodeSteps: 100,
    totalSteps: 5_000,
    chunksPerUpdate: 32,
    epochs: 2,
    batchSize: 8,
    learningRate: 1e-4,
  },
  full: {
    ...BASE,
    task: "transfer_cube",
    variant: "gemma_2b",
    actionDim: 14,
    horizon: 16,
    valueHeadHiddenDim: 512,
    totalSteps: 500_000,
    chunksPerUpdate: 128,
    epochs: 4,
    batchSize: 32,
    microBatchSize: 2, // a chunk is nearly a thousand tokens here
    learningRate: 3e-4,
  },
  demo: DEMO,
  transfer_cube: {
    ...DEMO,
    expName: "transfer_cube",
    task: "transfer_cube",
    maxEpisodeSteps: 200, // its demonstrator takes 92; an arm that has lost the cube can try again
    // A chunk is 13 tokens, and one wrong token opens a gripper: at 1 it hardly ever succeeds.
    temperature: 0.5,
    totalSteps: 1_100_000,
    updates: 100,
    chunksPerUpdate: 1024,
    batchSize: 128,
    learningRate: 1e-4, // 2e-4 stays 20 points behind
    finalLearningRateFraction: 0.2,
    criticWarmUpUpdates: 2, // its critic is new, and the policy easily spoiled
    // A grasp pays off at the hand-over, five chunks later.
    gamma: 0.95,
    gaeLambda: 0.9,
  },
};

/**
 * Whether a text names a preset.
 *
 * @param name Any text.
 */
export function isPresetName(name: string): name is PresetName {
  return (PRESET_NAMES as readonly string[]).includes(name);
}

/**
 * The experiments that show whether the policy learns, and what each part of the learner is worth.
 * @module
 */

import type { Config } from "../../../common/config/config.ts";
import { PRESETS } from "../../../common/config/presets.ts";

/** One way to train. */
export interface ExperimentVariant {
  /** Its name in tables, folders and result lines. */
  readonly name: string;
  /** What is different, for people. */
  readonly summary: string;
  /** What both programs do differently. */
  readonly flags: Partial<Config>;
  /** What the controller alone does differently. */
  readonly controller?: Partial<Config>;
}

/** A question, and the runs that answer it. */
export interface Experiment {
  /** Its name on the command line. */
  readonly name: string;
  /** The question. */
  readonly summary: string;
  /** What its runs share, over the `demo` preset. */
  readonly flags: Partial<Config>;
  /** What is compared; the first one is run where none is chosen. */
  readonly variants: readonly ExperimentVariant[];
  /** Whether checkpoints are measured on held-out episodes, or time is all that counts. */
  readonly isEvaluated: boolean;
}

/**
 * Chunks arrive about one version after they were sampled in any case: collection and update overlap.
 * Holding three more makes four.
 */
const STALE: Partial<Config> = { holdWeights: 3, maxStaleness: 8 };

/** As the demo was at first: plain PPO, twice the chunks. */
const FIRST: ExperimentVariant = {
  name: "first",
  summary: "the demo as it was at first: plain PPO, 40 updates of 1,024 chunks",
  flags: {
    chunksPerUpdate: 1024,
    clipRangeHigh: 0,
    dualClip: 0,
    decoupled: false,
    valueLoss: "squared",
    valueNormalization: false,
  },
};

/** Every experiment by its name. */
export const EXPERIMENTS: readonly Experiment[] = [
  {
    name: "reach",
    summary: "Does reach come to 98 %, in half the control steps that the demo first took?",
    flags: { task: "reach", saveEveryUpdates: 2 },
    variants: [
      {
        name: "default",
        summary: "the demo as it is: half the control steps of the first",
        flags: {},
      },
      {
        name: "small_batches",
        summary: "the same in updates of 128 chunks: the fewest steps to 90 %",
        flags: { chunksPerUpdate: 128 },
      },
      FIRST,
    ],
    isEvaluated: true,
  },
  {
    name: "transfer_cube",
    summary: "Does transfer_cube come from an imitation policy's 30 to 50 % to 85 %?",
    flags: PRESETS.transfer_cube,
    variants: [{ name: "default", summary: "the preset of this name", flags: {} }],
    isEvaluated: true,
  },
  {
    name: "ablations",
    summary: "What is each part of the learner worth on reach?",
    // Small updates: what is compared is how a run goes, and the table needs many.
    flags: {
      task: "reach",
      updates: 40,
      chunksPerUpdate: 128,
      saveEveryUpdates: 10,
    },
    variants: [
      { name: "default", summary: "nothing left out", flags: {} },
      {
        name: "critic_warm_up",
        summary: "the critic alone learns in the first two updates",
        flags: { criticWarmUpUpdates: 2 },
      },
      { name: "stale", summary: "weights four versions old", flags: STALE },
      {
        name: "stale_not_decoupled",
        summary: "weights four versions old, without decoupling",
        flags: { ...STALE, decoupled: false },
      },
      {
        name: "anchor",
        summary: "with the KL to the imitation policy",
        flags: { klWeight: 0.01 },
      },
      {
        name: "free_decoding",
        summary: "any token may be drawn, though the chunk then may not decode",
        flags: { constrainedDecoding: false },
      },
      { name: "token_ratio", summary: "a ratio a token", flags: { ratioLevel: "token" } },
      {
        name: "pair_value",
        summary: "the critic judges observation and chunk",
        flags: { valueInput: "chunk" },
      },
      {
        name: "attention_value",
        summary: "the critic pools by attention",
        flags: { valueInput: "attention" },
      },
      {
        name: "int8_behaviour",
        summary: "the controller's weights are int8",
        flags: {},
        controller: { precision: "int8" },
      },
      {
        name: "int8_behaviour_stale",
        summary: "int8 and four versions old",
        flags: STALE,
        controller: { precision: "int8" },
      },
    ],
    isEvaluated: true,
  },
  {
    name: "throughput",
    summary: "How fast is experience collected and used, and who waits for whom?",
    flags: { task: "reach", updates: 8, saveEveryUpdates: 0 },
    variants: [
      { name: "default", summary: "the demo as it is", flags: {} },
      FIRST,
    ],
    isEvaluated: false,
  },
];

/** Which shares of success are of interest, 0–1. */
export const SUCCESS_LEVELS = [0.9, 0.95, 0.98] as const;

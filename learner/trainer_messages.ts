/**
 * What the learner's main thread and its training thread say to each other.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { Initialization, ModelMetadata } from "../common/checkpoint/metadata.ts";
import type { HostTensor } from "../common/types.ts";
import type { Estimate } from "./ppo/gae.ts";
import type { UpdateMetrics } from "./ppo/update.ts";

/** To the training thread. */
export type TrainerRequest =
  | {
    /** Load a policy. */
    readonly kind: "start";
    /** Folder of the checkpoint. */
    readonly checkpoint: string;
    /** Folder of the imitation checkpoint that the KL anchor keeps to; used when its weight > 0. */
    readonly reference: string;
    /** The whole configuration. */
    readonly config: Config;
  }
  | {
    /** Improve the policy. */
    readonly kind: "update";
    /** Chunks with advantages. */
    readonly estimates: readonly Estimate[];
    /** Number of the update, which seeds its shuffling. */
    readonly update: number;
    /** Version of the weights that it starts from. */
    readonly policyVersion: number;
    /** Fraction of the configured step sizes to use. */
    readonly learningRateScale: number;
  }
  | {
    /** Tell the optimiser's state. */
    readonly kind: "optimizer";
  };

/** What a loaded policy is. */
export interface TrainerReady {
  /** What controllers must agree on. */
  readonly signature: Record<string, string>;
  /** Weights under prefixed names. */
  readonly weights: readonly HostTensor[];
  /** The model, as a checkpoint records it. */
  readonly model: ModelMetadata;
  /** Sentences for people. */
  readonly notes: readonly string[];
  /** Whether the weights are the checkpoint's, or random because that could not be loaded. */
  readonly initialization: Initialization;
  /** Where it computes. */
  readonly device: string;
}

/** Outcome of an update. */
export interface TrainerUpdated {
  /** Losses and times. */
  readonly metrics: UpdateMetrics;
  /** The new weights. */
  readonly weights: readonly HostTensor[];
  /** Tensors alive in the thread: constant, or something leaks. */
  readonly tensors: number;
}

/** The optimiser's state. */
export interface TrainerOptimizer {
  /** Adam's moments. */
  readonly tensors: readonly HostTensor[];
  /** Steps taken. */
  readonly steps: number;
}

/** From the training thread: the answer to each request, in order. */
export type TrainerReply =
  | ({ readonly kind: "ready" } & TrainerReady)
  | ({ readonly kind: "updated" } & TrainerUpdated)
  | ({ readonly kind: "optimizer" } & TrainerOptimizer)
  | { readonly kind: "failed"; readonly sentence: string };

/**
 * What the learner's main thread and its training thread say to each other.
 * @module
 */

import type { Config } from "../common/config/config.ts";
import type { Initialization, ModelMetadata } from "../common/checkpoint/metadata.ts";
import type { HostTensor, Observation } from "../common/types.ts";
import type { Estimate } from "./ppo/gae.ts";
import type { UpdateMetrics } from "./ppo/update.ts";
import type { TrainerState } from "./train_state.ts";

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
    /** What the thread knew when the checkpoint was written, if the run goes on from there. */
    readonly state?: TrainerState;
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
    /** Train the critic alone. */
    readonly isCriticAlone: boolean;
  }
  | {
    /** Say how new observations are, and learn them. */
    readonly kind: "rate";
    /** The observations. */
    readonly observations: readonly Observation[];
  }
  | {
    /** Tell all that a checkpoint needs besides the weights. */
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
  /** Whether it is better off if chunks bring their image tokens. */
  readonly wantsImageTokens: boolean;
  /** Where it computes. */
  readonly device: string;
}

/** Outcome of an update. */
export interface TrainerUpdated {
  /** Losses and times. */
  readonly metrics: UpdateMetrics;
  /** What is trained of the weights, under prefixed names; the others are as they were. */
  readonly weights: readonly HostTensor[];
  /** Tensors alive in the thread: constant, or something leaks. */
  readonly tensors: number;
}

/** All that a checkpoint needs besides the weights. */
export interface TrainerOptimizer {
  /** Adam's moments as `moment/<i>`, and what else is kept in tensors under prefixes of its own. */
  readonly tensors: readonly HostTensor[];
  /** Steps taken. */
  readonly steps: number;
  /** The rest. */
  readonly state: TrainerState;
}

/** From the training thread: the answer to each request, in order. */
export type TrainerReply =
  | ({ readonly kind: "ready" } & TrainerReady)
  | ({ readonly kind: "updated" } & TrainerUpdated)
  | { readonly kind: "rated"; readonly newness: Float32Array }
  | ({ readonly kind: "optimizer" } & TrainerOptimizer)
  | { readonly kind: "failed"; readonly sentence: string };

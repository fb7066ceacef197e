/**
 * THE loop of the controller: swap weights, then observe → infer → execute the chunk → record.
 * @module
 */

import { GpuLostError } from "../common/device/errors.ts";
import type { ActorCritic } from "../common/policy/actor_critic.ts";
import type { ChunkTransition, HostTensor } from "../common/types.ts";
import type { ChunkRunner } from "./chunk_source.ts";

/** Newer weights. */
export interface NewWeights {
  /** Their version. */
  readonly version: number;
  /** How much of the run was done when they were published, 0–1; 0 if absent. */
  readonly progress?: number;
  /** All weights under prefixed names. */
  readonly tensors: readonly HostTensor[];
}

/** The loop's view of the way to the learner. */
export interface ChunkSink {
  /** Weights that came since the last call; null if none did. */
  takeLatestWeights(): NewWeights | null;
  /** False asks the loop to wait: the learner has more chunks than it can use. */
  hasCapacity(): boolean;
  /** Queue a chunk. Never waits for the network. */
  send(transition: ChunkTransition): void;
  /** Wait until a claim about the link holds, at most so long. */
  until(claim: () => boolean, timeoutMs: number): Promise<boolean>;
}

/** What the loop works with. */
export interface ControlLoopParts {
  /** Drives the robots. */
  readonly runner: ChunkRunner;
  /** The policy, asked for before each chunk: it is another one once its device was lost. */
  readonly policy: () => ActorCritic | Promise<ActorCritic>;
  /** Writes newer weights into the policy. */
  readonly assign: (weights: NewWeights) => void;
  /** Brings the policy back when its GPU is lost in mid-chunk; if absent, that ends the loop. */
  readonly recover?: (lost: GpuLostError) => Promise<void>;
  /** Where transitions go. */
  readonly sink: ChunkSink;
  /** Called after each chunk of all robots. */
  readonly onChunks: (transitions: readonly ChunkTransition[], policyVersion: number) => void;
  /** Version of the weights that the policy starts with. */
  readonly policyVersion: number;
  /** Ends the loop. */
  readonly signal: AbortSignal;
}

/** How long one wait for the learner lasts before the loop looks around, in milliseconds. */
const CAPACITY_POLL_MS = 1000;

/** Act until the signal ends it. While the learner is away the robot keeps acting. */
export async function runControlLoop(parts: ControlLoopParts): Promise<void> {
  const { runner, policy, assign, recover, sink, onChunks, signal } = parts;
  let version = parts.policyVersion;
  let progress = 0;
  while (!signal.aborted) {
    const actor = await policy();
    const weights = sink.takeLatestWeights();
    if (weights) {
      assign(weights);
      version = weights.version;
      progress = weights.progress ?? 0;
    }
    if (!sink.hasCapacity()) {
      await sink.until(() => sink.hasCapacity() || signal.aborted, CAPACITY_POLL_MS);
      continue;
    }
    try {
      const transitions = await runner.advance(actor, version, progress);
      for (const transition of transitions) sink.send(transition);
      onChunks(transitions, version);
    } catch (error) {
      if (!(error instanceof GpuLostError) || recover === undefined) throw error;
      await recover(error);
    }
  }
}

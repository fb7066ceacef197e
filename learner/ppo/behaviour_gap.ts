/**
 * How far the policies that sampled chunks are from the one that is trained on them: the same tokens,
 * once as the controller recorded them and once as the learner computes them, which is in float32 as
 * long as the learner itself is not told another precision.
 *
 * A behaviour log-probability is the controller's own, so the gap is no error of it; but every ratio
 * begins at it instead of at 1. Chunks of older weights are left out, for they would mix in how far
 * training has moved on since.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Precision } from "../../common/config/config.ts";
import {
  type ActorCritic,
  type PreparedChunks,
  selectRows,
} from "../../common/policy/actor_critic.ts";
import type { Behaviour, ChunkTransition, Decoder } from "../../common/types.ts";

/** Chunks compared in one update at most, shared among the behaviours in it. */
export const MAX_COMPARED_CHUNKS = 32;

/** Largest |log ratio| that is put into an exponential: far beyond any real one, and finite. */
const MAX_LOG_RATIO = 20;

/** A gap over tokens, between the learner's log-probabilities and those recorded. */
export interface TokenGap {
  /** Tokens compared. */
  readonly tokens: number;
  /** Mean |Δ log-probability|, in nats. */
  readonly mean: number;
  /** The largest, in nats. */
  readonly max: number;
  /**
   * Estimate of KL(behaviour ‖ learner), in nats a token: the mean of (r − 1) − log r with r =
   * π_learner / π_behaviour (Schulman, "Approximating KL Divergence", 2020, estimator k3), which is
   * unbiased and never negative.
   */
  readonly kl: number;
}

/** The gap of all chunks that one kind of policy sampled. */
export interface BehaviourGap extends TokenGap {
  /** How that policy's matrices were kept. */
  readonly precision: Precision;
  /** What decoded its tokens. */
  readonly decoder: Decoder;
  /** Chunks compared. */
  readonly chunks: number;
}

/** What {@link measureBehaviourGaps} needs besides the chunks. */
export interface BehaviourGapOptions {
  /** Version of the policy's weights as they are. */
  readonly policyVersion: number;
  /** Temperature that chunks were sampled with. */
  readonly temperature: number;
  /** Chunks of one forward pass. */
  readonly batchSize: number;
  /** The policy's log-probabilities a token of all chunks, if they are at hand already. */
  readonly known?: readonly Float32Array[];
}

/**
 * Compare recorded log-probabilities with the policy's own: one forward pass over at most
 * {@link MAX_COMPARED_CHUNKS} chunks that were sampled by the same version of the weights.
 *
 * @param policy The learner's, not yet updated.
 * @param prepared The chunks, prepared for it.
 * @param transitions The same chunks as they came.
 * @returns One entry a kind of behaviour; none if no chunk has the version.
 */
export async function measureBehaviourGaps(
  policy: ActorCritic,
  prepared: PreparedChunks,
  transitions: readonly ChunkTransition[],
  { policyVersion, temperature, batchSize, known }: BehaviourGapOptions,
): Promise<BehaviourGap[]> {
  const gaps: BehaviourGap[] = [];
  for (const { behaviour, rows } of chooseRows(transitions, policyVersion)) {
    const sums = new GapSums();
    for (let from = 0; from < rows.length; from += batchSize) {
      const batch = rows.slice(from, from + batchSize);
      const own = known
        ? batch.map((row) => known[row])
        : await tokenLogProbs(policy, selectRows(prepared, batch), temperature);
      batch.forEach((row, i) => sums.add(own[i], transitions[row].tokenLogProbs));
    }
    gaps.push({ ...behaviour, chunks: rows.length, ...sums.result() });
  }
  return gaps;
}

/**
 * One gap of several, as if their tokens had been measured together.
 * @returns Null if no token was compared.
 */
export function poolGaps(gaps: readonly TokenGap[]): TokenGap | null {
  const tokens = gaps.reduce((sum, gap) => sum + gap.tokens, 0);
  if (tokens === 0) return null;
  const mean = (pick: (gap: TokenGap) => number) =>
    gaps.reduce((sum, gap) => sum + gap.tokens * pick(gap), 0) / tokens;
  return {
    tokens,
    mean: mean((gap) => gap.mean),
    max: Math.max(...gaps.map((gap) => gap.max)),
    kl: mean((gap) => gap.kl),
  };
}

/** Rows of the version by behaviour, evenly spread over all there are: neighbours are of one episode. */
function chooseRows(
  transitions: readonly ChunkTransition[],
  policyVersion: number,
): { behaviour: Behaviour; rows: number[] }[] {
  const found = new Map<string, { behaviour: Behaviour; rows: number[] }>();
  transitions.forEach(({ behaviour, policyVersion: version, driver }, row) => {
    // What a person did was never sampled: there is nothing to compare.
    if (version !== policyVersion || driver === "person") return;
    const key = `${behaviour.precision}.${behaviour.decoder}`;
    const group = found.get(key) ?? { behaviour, rows: [] };
    group.rows.push(row);
    found.set(key, group);
  });
  const share = Math.max(1, Math.floor(MAX_COMPARED_CHUNKS / Math.max(1, found.size)));
  return [...found.values()].map(({ behaviour, rows }) => {
    const count = Math.min(share, rows.length);
    const spread = Array.from(
      { length: count },
      (_, i) => rows[Math.floor(i * rows.length / count)],
    );
    return { behaviour, rows: spread };
  });
}

/** The policy's log-probabilities `[S_b]` of each row's tokens. */
async function tokenLogProbs(
  policy: ActorCritic,
  chunks: PreparedChunks,
  temperature: number,
): Promise<Float32Array[]> {
  const tensor = tf.tidy(() => policy.evaluate(chunks, temperature).tokenLogProbs);
  const [, steps] = tensor.shape;
  try {
    const values = await tensor.data<"float32">();
    return chunks.tokens.map((row, i) => values.slice(i * steps, i * steps + row.length));
  } finally {
    tensor.dispose();
  }
}

/** Sums over tokens that become a {@link TokenGap}. */
class GapSums {
  #tokens = 0;
  #gap = 0;
  #max = 0;
  #kl = 0;

  /** One chunk: the learner's log-probabilities and those recorded, `[S]` each. */
  add(own: Float32Array, recorded: Float32Array): void {
    this.#tokens += own.length;
    own.forEach((logProb, s) => {
      const difference = logProb - recorded[s];
      const logRatio = Math.max(-MAX_LOG_RATIO, Math.min(MAX_LOG_RATIO, difference));
      this.#gap += Math.abs(difference);
      this.#max = Math.max(this.#max, Math.abs(difference));
      // expm1 keeps the digits that exp(x) − 1 would lose near 0; its last one may still be off.
      this.#kl += Math.max(0, Math.expm1(logRatio) - logRatio);
    });
  }

  result(): TokenGap {
    const tokens = this.#tokens;
    return { tokens, mean: this.#gap / tokens, max: this.#max, kl: this.#kl / tokens };
  }
}

/**
 * How far two policies that differ in precision alone are apart: the gap between what a quantised
 * controller samples from and what a learner in float32 computes for the same tokens.
 *
 * A behaviour log-probability is the quantised policy's own, so this gap is no error of it; but PPO's
 * ratio begins at it instead of at 1, and it should be small against the clip range.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Observation } from "../types.ts";
import { type ActorCritic, type PreparedChunks, selectRows } from "./actor_critic.ts";

/** Chunks of one policy under two. All over tokens unless said otherwise. */
export interface PolicyGap {
  /** Chunks compared. */
  readonly chunks: number;
  /** Tokens compared. */
  readonly tokens: number;
  /** Mean |Δ log-probability| of the token taken, in nats. */
  readonly meanLogProbGap: number;
  /** The largest. */
  readonly maxLogProbGap: number;
  /** Mean |Δ log-probability| of a whole chunk, in nats. */
  readonly meanChunkGap: number;
  /** Mean KL(behaviour ‖ reference) of the full masked distributions, in nats a token. */
  readonly meanKl: number;
  /** The largest, in nats. */
  readonly maxKl: number;
  /** Share of places where both policies' likeliest token is the same, 0–1. */
  readonly greedyShare: number;
}

/** Settings of {@link comparePolicies}. */
export interface GapOptions {
  /** Temperature that chunks are sampled and compared at, above 0. */
  readonly temperature: number;
  /** Chunks are taken greedily, and compared at `temperature` all the same; false by default. */
  readonly isGreedy?: boolean;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /** Chunks at a time; 32 by default. */
  readonly batchSize?: number;
  /** Ends the comparison by throwing its reason. */
  readonly signal?: AbortSignal;
}

/**
 * Sample a chunk for every observation with one policy and compute its tokens again with the other.
 *
 * @param behaviour Samples, such as the quantised policy.
 * @param reference Looks at the same tokens, such as the float32 policy.
 * @param observations At least one.
 * @throws {RangeError} If there is no observation.
 */
export async function comparePolicies(
  behaviour: ActorCritic,
  reference: ActorCritic,
  observations: readonly Observation[],
  { temperature, isGreedy = false, random, batchSize = 32, signal }: GapOptions,
): Promise<PolicyGap> {
  if (observations.length === 0) {
    throw new RangeError("Cannot compare policies: there are no observations; give at least one");
  }
  const sums = new GapSums();
  for (let from = 0; from < observations.length; from += batchSize) {
    signal?.throwIfAborted();
    const seen = observations.slice(from, from + batchSize);
    const drawn = { temperature: isGreedy ? 0 : temperature, random };
    const chunks = await behaviour.sampleActions(seen, drawn);
    const prepared = behaviour.prepareChunks(seen, chunks.map((chunk) => chunk.tokens));
    const own = await tokenLogProbs(behaviour, prepared, temperature);
    const other = await tokenLogProbs(reference, prepared, temperature);
    prepared.tokens.forEach((tokens, row) => {
      const at = row * own.stride;
      sums.addChunk(tokens, own.values.subarray(at), other.values.subarray(at), own.vocab);
    });
  }
  return sums.result();
}

/** Log-probabilities `[B, S, V]` on the host. */
async function tokenLogProbs(policy: ActorCritic, chunks: PreparedChunks, temperature: number) {
  const rows = chunks.tokens.map((_, i) => i);
  const tensor = tf.tidy(() => policy.evaluate(selectRows(chunks, rows), temperature).logProbs);
  const [, steps, vocab] = tensor.shape;
  const values = await tensor.data<"float32">();
  tensor.dispose();
  return { values, vocab, stride: steps * vocab };
}

/** Sums over tokens and chunks that become a {@link PolicyGap}. */
class GapSums {
  #chunks = 0;
  #tokens = 0;
  #equal = 0;
  #gap = 0;
  #maxGap = 0;
  #chunkGap = 0;
  #kl = 0;
  #maxKl = 0;

  /** One chunk; distributions are `[S, V]`, one after the other. */
  addChunk(tokens: Int32Array, own: Float32Array, other: Float32Array, vocab: number): void {
    let chunkGap = 0;
    tokens.forEach((token, s) => {
      const p = own.subarray(s * vocab, (s + 1) * vocab);
      const q = other.subarray(s * vocab, (s + 1) * vocab);
      const gap = p[token] - q[token];
      chunkGap += gap;
      this.#gap += Math.abs(gap);
      this.#maxGap = Math.max(this.#maxGap, Math.abs(gap));
      const kl = divergence(p, q);
      this.#kl += kl;
      this.#maxKl = Math.max(this.#maxKl, kl);
      if (likeliest(p) === likeliest(q)) this.#equal++;
    });
    this.#chunkGap += Math.abs(chunkGap);
    this.#tokens += tokens.length;
    this.#chunks++;
  }

  /** Means. */
  result(): PolicyGap {
    return {
      chunks: this.#chunks,
      tokens: this.#tokens,
      meanLogProbGap: this.#gap / this.#tokens,
      maxLogProbGap: this.#maxGap,
      meanChunkGap: this.#chunkGap / this.#chunks,
      meanKl: this.#kl / this.#tokens,
      maxKl: this.#maxKl,
      greedyShare: this.#equal / this.#tokens,
    };
  }
}

/** KL(p ‖ q) in nats of two rows of log-probabilities; masked tokens have probability 0. */
function divergence(p: Float32Array, q: Float32Array): number {
  let sum = 0;
  p.forEach((logP, i) => {
    const probability = Math.exp(logP);
    if (probability > 0) sum += probability * (logP - q[i]);
  });
  return sum;
}

function likeliest(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[best]) best = i;
  return best;
}

/**
 * The proximal policy of decoupled PPO: the learner's weights as an update begins, before its first
 * gradient step. Its log-probabilities are computed once, token by token, in one forward pass over all
 * chunks of the update; for fresh chunks of a controller that computes as the learner does they are the
 * recorded ones but for rounding.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import {
  type ActorCritic,
  type PreparedChunks,
  selectRows,
} from "../../common/policy/actor_critic.ts";
import { yieldToEventLoop } from "../../common/yield_to_event_loop.ts";
import type { Estimate } from "./gae.ts";
import { partsOf } from "./minibatch.ts";
import { effectiveSampleSize, truncatedWeights } from "./ratio_metrics.ts";
import { isPolicyDriven } from "./value_after.ts";

/**
 * A policy's log-probabilities of the tokens of chunks.
 * @param options.temperature The one that the chunks were sampled with.
 * @param options.batchSize Chunks of one forward pass.
 * @returns `[S_b]` a chunk, nats.
 */
export async function tokenLogProbsOf(
  policy: ActorCritic,
  chunks: PreparedChunks,
  { temperature, batchSize }: { readonly temperature: number; readonly batchSize: number },
): Promise<Float32Array[]> {
  const out = new Array<Float32Array>(chunks.tokens.length);
  // Of like length, so that no pass is long for the sake of one chunk.
  const byLength = [...chunks.tokens.keys()].sort((i, j) =>
    chunks.tokens[i].length - chunks.tokens[j].length
  );
  for (const rows of partsOf(byLength, batchSize)) {
    const part = selectRows(chunks, rows);
    const tensor = tf.tidy(() => policy.evaluate(part, temperature).tokenLogProbs);
    const [, steps] = tensor.shape;
    const values = await tensor.data<"float32">();
    tensor.dispose();
    rows.forEach((row, i) => {
      out[row] = values.slice(i * steps, i * steps + chunks.tokens[row].length);
    });
    await yieldToEventLoop();
  }
  return out;
}

/** How far data is from the proximal policy, by the weights that correct for it. */
export interface StaleData {
  /** Mean of π_prox / π_behaviour before the cap: 1 in expectation. */
  readonly behaviourRatioMean: number;
  /** The largest. */
  readonly behaviourRatioMax: number;
  /** Share of weights that the cap cuts. */
  readonly weightsCapped: number;
  /** What the weighted samples are worth, as a share of their number, in (0, 1]. */
  readonly effectiveSampleSize: number;
}

/**
 * Summarise the weights of decoupled PPO.
 * @param estimates The chunks; those that a person drove have no ratio and are left out.
 * @param proximal Each chunk's log-probabilities a token under the proximal policy.
 * @param options.level What has a ratio.
 * @param options.cap The weights' cap.
 * @returns null if the policy drove none of the chunks.
 */
export function summarizeStaleData(
  estimates: readonly Estimate[],
  proximal: readonly Float32Array[],
  { level, cap }: { readonly level: "chunk" | "token"; readonly cap: number },
): StaleData | null {
  const logRatios = estimates.flatMap(({ transition }, i) => {
    if (!isPolicyDriven(transition)) return [];
    return logRatiosOf(proximal[i], transition.tokenLogProbs, level);
  });
  if (logRatios.length === 0) return null;
  const ratios = truncatedWeights(logRatios, Infinity);
  const weights = truncatedWeights(logRatios, cap);
  return {
    behaviourRatioMean: ratios.reduce((a, b) => a + b, 0) / ratios.length,
    behaviourRatioMax: ratios.reduce((a, b) => Math.max(a, b), 0),
    weightsCapped: ratios.reduce((n, ratio) => n + (ratio > cap ? 1 : 0), 0) / ratios.length,
    effectiveSampleSize: effectiveSampleSize(weights),
  };
}

/**
 * log π_a − log π_b of each token of a chunk or, for a chunk, their sum.
 * @param a `[S]` under one policy.
 * @param b `[S]` under the other.
 */
export function logRatiosOf(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  level: "chunk" | "token",
): number[] {
  const ratios = Array.from(b, (logProb, s) => a[s] - logProb);
  return level === "token" ? ratios : [ratios.reduce((sum, one) => sum + one, 0)];
}

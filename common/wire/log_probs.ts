/**
 * Whether the log-probabilities that came with a chunk can be those of its tokens. The learner's
 * ratios are built on them, so what cannot be true is refused before it is trained on.
 *
 * @module
 */
import type { ChunkTransition } from "../types.ts";
import type { TransitionFault } from "./refusals.ts";

/**
 * How far the tokens' log-probabilities may add up to something else than the chunk's, relative to
 * 1 + |sum|: float32 keeps 24 bits of each, which is 6e-8 of it, so only another chunk's fail.
 */
export const LOG_PROB_SUM_TOLERANCE = 1e-4;

/**
 * Find what is wrong with a chunk's log-probabilities. A person's chunk may have none.
 *
 * @param chunk Its driver, its tokens and its log-probabilities in nats.
 * @returns The first fault, or null if there is none.
 */
export function findLogProbFault(
  { driver, tokens, logProb, tokenLogProbs }: Pick<
    ChunkTransition,
    "driver" | "tokens" | "logProb" | "tokenLogProbs"
  >,
): TransitionFault | null {
  if (driver === "person") {
    if (tokenLogProbs.length === 0 && logProb === 0) return null;
    return {
      reason: "log_prob_length",
      field: "tokenLogProbs",
      problem: `must be empty and logProb 0, for a person drove, got ${tokenLogProbs.length} ` +
        `numbers and ${logProb}`,
    };
  }
  if (tokenLogProbs.length !== tokens.length) {
    return {
      reason: "log_prob_length",
      field: "tokenLogProbs",
      problem: `must have one number a token, got ${tokenLogProbs.length} for ${tokens.length}`,
    };
  }
  const bad = tokenLogProbs.findIndex((one) => !(one <= 0 && one > -Infinity));
  if (bad >= 0) {
    return {
      reason: "log_prob_range",
      field: "tokenLogProbs",
      problem: `must be finite and at most 0, got ${tokenLogProbs[bad]} at index ${bad}`,
    };
  }
  if (!(logProb <= 0 && logProb > -Infinity)) {
    return {
      reason: "log_prob_range",
      field: "logProb",
      problem: `must be finite and at most 0, got ${logProb}`,
    };
  }
  const sum = tokenLogProbs.reduce((total, one) => total + one, 0);
  if (Math.abs(sum - logProb) > LOG_PROB_SUM_TOLERANCE * (1 + Math.abs(sum))) {
    return {
      reason: "log_prob_sum",
      field: "logProb",
      problem: `must be the sum of the tokens', which is ${sum}, got ${logProb}`,
    };
  }
  return null;
}

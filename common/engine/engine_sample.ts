/**
 * How an engine is asked for a chunk, and what it answers.
 *
 * Letters: S decoded action tokens, D width.
 *
 * @module
 */

import { NonFiniteError } from "../device/check_finite.ts";
import { STATE_BYTES } from "./engine_buffers.ts";
import type { EngineModel } from "./engine_model.ts";
import { DECODE_STATE, FAULT } from "./wgsl/shared.ts";

/** How to draw a chunk. */
export interface EngineSampling {
  /** Above 0: sample at it. 0: take the best, with log-probabilities at temperature 1. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). One a token of `maxTokens` is taken before the first step. */
  readonly random: () => number;
  /** Token budget of the grammar, as in `ChunkGrammar.start`. */
  readonly maxTokens: number;
}

/** A chunk as it was drawn. */
export interface EngineSample {
  /** FAST ids `[S]`. */
  readonly tokens: Int32Array;
  /** `[S]` log-probabilities under the masked softmax, nats. */
  readonly logProbs: Float32Array;
  /** `[S]` entropies of the masked softmax, nats. */
  readonly entropies: Float32Array;
  /** `[min(S, hiddenSteps), D]`: states behind the final norm that tokens were predicted from. */
  readonly hidden: Float32Array;
}

/**
 * Read what some steps have left.
 *
 * @param bytes Decode state, outcomes, hidden states.
 * @param outcomeBytes Bytes of the outcomes among them.
 * @param model Sizes.
 * @returns The chunk, or null if it is not complete.
 * @throws {NonFiniteError} If a logit was not finite.
 * @throws {Error} If the grammar allowed no token.
 */
export function readSample(
  bytes: ArrayBuffer,
  outcomeBytes: number,
  { gemma, hiddenSteps }: EngineModel,
): EngineSample | null {
  const words = new Uint32Array(bytes, 0, DECODE_STATE.length);
  const state = (word: typeof DECODE_STATE[number]) => words[DECODE_STATE.indexOf(word)];
  if (state("fault") === FAULT.notFinite) {
    throw new NonFiniteError(
      `Cannot decode a chunk: a logit of token ${state("step")} is not finite; the weights or a ` +
        "kernel are broken",
    );
  }
  if (state("fault") === FAULT.nothingAllowed) {
    throw new Error(`Cannot decode a chunk: the grammar allows no token ${state("step")}`);
  }
  if (state("is_done") === 0) return null;
  const steps = state("step");
  const outcomes = new Float32Array(bytes, STATE_BYTES, 4 * steps);
  const column = (i: number) => Float32Array.from({ length: steps }, (_, s) => outcomes[4 * s + i]);
  const kept = Math.min(steps, hiddenSteps) * gemma.width;
  return {
    tokens: Int32Array.from(column(0)),
    logProbs: column(1),
    entropies: column(2),
    hidden: new Float32Array(bytes, STATE_BYTES + outcomeBytes, kept).slice(),
  };
}

/**
 * How an engine is asked for a chunk, and what it answers.
 *
 * Letters: S decoded action tokens.
 *
 * @module
 */

import { checkFinite, NonFiniteError } from "../device/check_finite.ts";
import { STATE_BYTES, VALUE_BYTES } from "./engine_buffers.ts";
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
  /** The critic's value; 0 if the model has no critic. */
  readonly value: number;
}

const STATE_WORDS = DECODE_STATE.length;

/** A word of the decode state, once it is known that the steps went well. */
function stateOf(bytes: ArrayBuffer): (word: typeof DECODE_STATE[number]) => number {
  const words = new Uint32Array(bytes, 0, STATE_WORDS);
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
  return state;
}

/**
 * Read the critic's value.
 *
 * @param bytes Decode state, value, outcomes.
 * @throws {NonFiniteError} If it or a logit was not finite.
 * @throws {Error} If the grammar allowed no token.
 */
export function readValue(bytes: ArrayBuffer): number {
  stateOf(bytes);
  const [value] = new Float32Array(bytes, STATE_BYTES, 1);
  checkFinite(value, "the value of a chunk");
  return value;
}

/**
 * Read what some steps have left.
 *
 * @param bytes Decode state, value, outcomes.
 * @returns The chunk, or null if it is not complete.
 * @throws {NonFiniteError} If a logit or the value was not finite.
 * @throws {Error} If the grammar allowed no token.
 */
export function readSample(bytes: ArrayBuffer): EngineSample | null {
  const state = stateOf(bytes);
  if (state("is_done") === 0) return null;
  const steps = state("step");
  const outcomes = new Float32Array(bytes, STATE_BYTES + VALUE_BYTES, 4 * steps);
  const column = (i: number) => Float32Array.from({ length: steps }, (_, s) => outcomes[4 * s + i]);
  return {
    tokens: Int32Array.from(column(0)),
    logProbs: column(1),
    entropies: column(2),
    value: readValue(bytes),
  };
}

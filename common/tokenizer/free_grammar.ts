/**
 * Decoding without a constraint: any token may come next, and a chunk ends where enough coefficients
 * are there, where nothing can be made of its bytes any more, or where its tokens are used up. Many
 * such chunks do not decode. For experiments that ask what constrained decoding is worth, and nothing
 * else: an arm moves on whatever stands in for them.
 *
 * @module
 */

import { stepUtf8 } from "./byte_level.ts";
import type { FastTokenizer } from "./fast.ts";
import { ChunkGrammar, type GrammarState } from "./grammar.ts";

/** Stands for: the bytes so far are no text of the alphabet, whatever follows. */
const BROKEN = -1;

/** A grammar that allows everything. */
export class FreeGrammar extends ChunkGrammar {
  readonly #tokenizer: FastTokenizer;
  readonly #all: Uint8Array;
  readonly #none: Uint8Array;

  /**
   * Build it.
   *
   * @param tokenizer The tokenizer whose tokens are sampled.
   * @param horizon H.
   * @param actionDim A.
   * @throws {RangeError} As the constraining grammar does.
   */
  constructor(tokenizer: FastTokenizer, horizon: number, actionDim: number) {
    super(tokenizer, horizon, actionDim);
    this.#tokenizer = tokenizer;
    this.#all = new Uint8Array(this.vocabSize).fill(1);
    this.#none = new Uint8Array(this.vocabSize);
  }

  /**
   * Which tokens may come next.
   *
   * @param state A state of this grammar.
   * @returns `[V]`: all 1, or all 0 once the chunk is done. Do not write to it.
   */
  override allowed(state: GrammarState): Uint8Array {
    return this.isDone(state) ? this.#none : this.#all;
  }

  /**
   * The state after a token.
   *
   * @param state A state of this grammar.
   * @param token A FAST id.
   * @returns The new state; `remaining` falls below 0 where a token writes more than is missing.
   * @throws {RangeError} If there is no such token, or the chunk is done.
   */
  override next(state: GrammarState, token: number): GrammarState {
    if (!Number.isInteger(token) || token < 0 || token >= this.vocabSize || this.isDone(state)) {
      throw new RangeError(
        `Cannot continue the chunk with token ${token}: ` +
          (this.isDone(state) ? "it is done" : `tokens are 0–${this.vocabSize - 1}`),
      );
    }
    let { remaining, pending } = state;
    for (const byte of this.#tokenizer.bpe.tokenBytes(token)) {
      const step = stepUtf8(pending, byte, this.#tokenizer.alphabetSize);
      if (step === -1) return { remaining, pending: BROKEN, budget: state.budget - 1 };
      if (step < 0) remaining--;
      pending = step < 0 ? 0 : step;
    }
    return { remaining, pending, budget: state.budget - 1 };
  }

  /**
   * Whether nothing follows. The chunk need not be well formed.
   *
   * @param state A state of this grammar.
   */
  override isDone({ remaining, pending, budget }: GrammarState): boolean {
    return pending === BROKEN || remaining <= 0 || budget <= 0;
  }

  /**
   * Check a whole chunk, such as one from the wire: it must end where sampling would have ended it.
   *
   * @param tokens FAST ids `[S]`.
   * @param maxTokens The budget that they were sampled with.
   * @throws {RangeError} It ends earlier or later, or has an unknown token.
   */
  override check(tokens: ArrayLike<number>, maxTokens: number): void {
    let state = this.start(maxTokens);
    for (let s = 0; s < tokens.length; s++) {
      try {
        state = this.next(state, tokens[s]);
      } catch (cause) {
        throw new RangeError(
          `Malformed chunk: token ${tokens[s]} at position ${s} of ${tokens.length} cannot follow`,
          { cause },
        );
      }
    }
    if (!this.isDone(state)) {
      throw new RangeError(
        `Malformed chunk: it ends after ${tokens.length} tokens with ${state.remaining} of ` +
          `${this.coefficients} coefficients missing`,
      );
    }
  }

  /**
   * The masks that a sampler met on its way to a chunk.
   *
   * @param tokens FAST ids `[S]`.
   * @param maxTokens The budget that they were sampled with.
   * @returns `[S, V]`, all 1.
   * @throws {RangeError} As {@link check} does.
   */
  override allowedAlong(tokens: ArrayLike<number>, maxTokens: number): Uint8Array {
    this.check(tokens, maxTokens);
    return new Uint8Array(tokens.length * this.vocabSize).fill(1);
  }
}

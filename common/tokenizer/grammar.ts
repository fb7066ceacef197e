/**
 * Constrained decoding of FAST tokens: which token may come next so that the chunk still decodes.
 *
 * A chunk is well formed when its tokens' bytes are UTF-8, every character lies in the
 * tokenizer's alphabet (0 … `alphabetSize` − 1), and there are exactly H·A of them. Of the
 * tokens so far only three things matter, and they are the state: the coefficients still
 * missing, the character left unfinished, and the tokens left in the budget. A table of the
 * fewest tokens that finish a chunk from each (unfinished character, coefficients missing),
 * filled once by dynamic programming, answers every question:
 *
 * a token is allowed if and only if it follows the unfinished character, gives no more
 * coefficients than are missing, and leaves a state that the rest of the budget can finish.
 *
 * So no allowed token leads to a dead end, and a policy that samples among allowed tokens cannot
 * write a malformed chunk. The mask depends on the budget; whoever recomputes log-probabilities
 * must use the `maxTokens` of the sampler.
 *
 * Letters: H horizon, A action dimension, S tokens of a chunk, V FAST vocabulary.
 *
 * @module
 */

import { stepUtf8 } from "./byte_level.ts";
import type { FastTokenizer } from "./fast.ts";

/** Where a chunk under construction stands. Made by {@link ChunkGrammar}; compare by fields. */
export interface GrammarState {
  /** Coefficients still to come. */
  readonly remaining: number;
  /** Which unfinished character precedes; 0 for none. Meaningful to its grammar alone. */
  readonly pending: number;
  /** Tokens that may still be emitted. */
  readonly budget: number;
}

/** A grammar's automaton as flat tables, for samplers that run elsewhere. */
export interface GrammarTables {
  /** V. */
  readonly vocabSize: number;
  /** Unfinished characters P, the empty one first: `GrammarState.pending` counts them. */
  readonly pendings: number;
  /** H·A. */
  readonly coefficients: number;
  /**
   * `[P, V]`: coefficients that a token completes, times P, plus the unfinished character that it
   * leaves; −1 where it cannot follow.
   */
  readonly effects: Int32Array;
  /**
   * `[P, H·A + 1]`: fewest tokens that finish a chunk. A token is allowed where it completes no more
   * than is missing and the entry that it leads to is below the tokens left.
   */
  readonly fewest: Int32Array;
}

/** What a token does after one unfinished character; tokens that do the same share an effect. */
interface Effect {
  /** Characters completed. */
  readonly count: number;
  /** Index of the unfinished character afterwards. */
  readonly pending: number;
}

/** Stands for: no number of tokens finishes the chunk. Above any number that does. */
const UNREACHABLE = 2 ** 30;

/** Masks are kept up to this many bytes, then dropped and begun anew. */
const MASK_CACHE_BYTES = 32 * 2 ** 20;

/** The grammar of chunks of one shape under one tokenizer. */
export class ChunkGrammar {
  /** V, the length of every mask. */
  readonly vocabSize: number;
  /** H·A, the coefficients of a chunk. */
  readonly coefficients: number;
  /** Fewest tokens that write a chunk: the least `maxTokens` that {@link start} takes. */
  readonly minTokens: number;
  /** Most tokens that a chunk can take. From this budget on the budget forbids nothing. */
  readonly maxTokens: number;

  readonly #effects: Effect[][] = []; // [pending][effect]
  readonly #effectOf: Int32Array[] = []; // [pending][token], −1 where the token cannot follow
  readonly #fewest: Int32Array[] = []; // [pending][remaining]
  readonly #ample: Int32Array; // [remaining], a budget that forbids as little as any larger one
  readonly #masks = new Map<number, Uint8Array>();

  /**
   * Build the tables of one grammar; a few milliseconds.
   *
   * @param tokenizer The tokenizer whose tokens are sampled.
   * @param horizon H.
   * @param actionDim A.
   * @throws {RangeError} If the shape is not positive, or the vocabulary cannot write a chunk.
   */
  constructor(tokenizer: FastTokenizer, horizon: number, actionDim: number) {
    if (![horizon, actionDim].every((n) => Number.isInteger(n) && n > 0)) {
      throw new RangeError(
        `Cannot build the grammar: horizon ${horizon} and action dimension ${actionDim} must be ` +
          `integers ≥ 1`,
      );
    }
    this.vocabSize = tokenizer.vocabSize;
    this.coefficients = horizon * actionDim;
    const bytesPerCharacter = new TextEncoder()
      .encode(String.fromCharCode(tokenizer.alphabetSize - 1)).length;
    this.maxTokens = this.coefficients * bytesPerCharacter;
    this.#ample = new Int32Array(this.coefficients + 1);
    this.#findFewest(this.#findEffects(tokenizer));
    this.minTokens = this.#fewest[0][this.coefficients];
    if (this.minTokens >= UNREACHABLE) {
      throw new RangeError(
        `Cannot build the grammar: no sequence of the ${this.vocabSize} tokens gives ` +
          `${this.coefficients} coefficients`,
      );
    }
  }

  /**
   * The state before the first token.
   *
   * @param maxTokens Tokens that the chunk may take, an integer of at least {@link minTokens}.
   * @returns The start state.
   * @throws {RangeError} If so few tokens cannot write a chunk.
   */
  start(maxTokens: number): GrammarState {
    if (!Number.isInteger(maxTokens) || maxTokens < this.minTokens) {
      throw new RangeError(
        `Cannot decode a chunk in ${maxTokens} tokens: ${this.coefficients} coefficients need ` +
          `at least ${this.minTokens}; raise the token budget`,
      );
    }
    return { remaining: this.coefficients, pending: 0, budget: maxTokens };
  }

  /**
   * Which tokens may come next.
   *
   * @param state A state of this grammar.
   * @returns `[V]`, 1 where allowed; all 0 once the chunk is done. Shared between equal states:
   * do not write to it.
   */
  allowed(state: GrammarState): Uint8Array {
    const { remaining, pending } = state;
    const budget = Math.min(state.budget, this.#ample[remaining]);
    const key = (budget * (this.coefficients + 1) + remaining) * this.#effects.length + pending;
    const known = this.#masks.get(key);
    if (known !== undefined) return known;
    const effects = this.#effects[pending];
    const isAllowed = effects.map((effect) => this.#permits(effect, remaining, budget));
    const effectOf = this.#effectOf[pending];
    const mask = new Uint8Array(this.vocabSize);
    for (let token = 0; token < mask.length; token++) {
      const effect = effectOf[token];
      if (effect >= 0 && isAllowed[effect]) mask[token] = 1;
    }
    if (this.#masks.size * this.vocabSize >= MASK_CACHE_BYTES) this.#masks.clear();
    this.#masks.set(key, mask);
    return mask;
  }

  /**
   * The state after a token.
   *
   * @param state A state of this grammar.
   * @param token A FAST id.
   * @returns The new state.
   * @throws {RangeError} If the token is not allowed.
   */
  next(state: GrammarState, token: number): GrammarState {
    const index = this.#effectOf[state.pending][token] ?? -1;
    const effect = this.#effects[state.pending][index];
    if (effect === undefined || !this.#permits(effect, state.remaining, state.budget)) {
      throw new RangeError(
        `Cannot continue the chunk with token ${token}: ${state.remaining} coefficients are ` +
          `missing and ${state.budget} tokens are left` +
          (state.pending === 0 ? "" : ", inside a character"),
      );
    }
    return {
      remaining: state.remaining - effect.count,
      pending: effect.pending,
      budget: state.budget - 1,
    };
  }

  /**
   * Whether the chunk is complete. Nothing may follow then, and nothing need.
   *
   * @param state A state of this grammar.
   * @returns True if no coefficient is missing.
   */
  isDone(state: GrammarState): boolean {
    return state.remaining === 0 && state.pending === 0;
  }

  /**
   * Fewest tokens that complete the chunk.
   *
   * @param state A state of this grammar.
   * @returns Tokens, 0 if the chunk is done.
   */
  tokensToFinish(state: GrammarState): number {
    return this.#fewest[state.pending][state.remaining];
  }

  /**
   * Check a whole chunk, such as one from the wire.
   *
   * @param tokens FAST ids `[S]`.
   * @param maxTokens The budget that they were sampled with.
   * @throws {RangeError} If the tokens are not one complete chunk within the budget.
   */
  check(tokens: ArrayLike<number>, maxTokens: number): void {
    this.#walk(tokens, maxTokens, () => {});
  }

  /**
   * The masks that a sampler met on its way to a chunk.
   *
   * @param tokens FAST ids `[S]`.
   * @param maxTokens The budget that they were sampled with.
   * @returns `[S, V]` row-major; row s is the mask under which token s was drawn.
   * @throws {RangeError} If the tokens are not one complete chunk within the budget.
   */
  allowedAlong(tokens: ArrayLike<number>, maxTokens: number): Uint8Array {
    this.check(tokens, maxTokens); // before tokens.length decides how much is allocated
    const masks = new Uint8Array(tokens.length * this.vocabSize);
    this.#walk(tokens, maxTokens, (state, s) => {
      masks.set(this.allowed(state), s * this.vocabSize);
    });
    return masks;
  }

  /**
   * The automaton as flat tables.
   *
   * @returns Copies.
   */
  tables(): GrammarTables {
    const { vocabSize, coefficients } = this;
    const pendings = this.#effects.length;
    const effects = new Int32Array(pendings * vocabSize);
    const fewest = new Int32Array(pendings * (coefficients + 1));
    for (let p = 0; p < pendings; p++) {
      const packed = this.#effects[p].map(({ count, pending }) => count * pendings + pending);
      effects.set(this.#effectOf[p].map((e) => e < 0 ? -1 : packed[e]), p * vocabSize);
      fewest.set(this.#fewest[p], p * (coefficients + 1));
    }
    return { vocabSize, pendings, coefficients, effects, fewest };
  }

  #walk(
    tokens: ArrayLike<number>,
    maxTokens: number,
    visit: (state: GrammarState, position: number) => void,
  ): void {
    let state = this.start(maxTokens);
    for (let s = 0; s < tokens.length; s++) {
      visit(state, s);
      try {
        state = this.next(state, tokens[s]);
      } catch (cause) {
        throw new RangeError(
          `Malformed chunk: token ${tokens[s]} at position ${s} of ${tokens.length} is not ` +
            `allowed, ${state.remaining} of ${this.coefficients} coefficients were missing and ` +
            `${state.budget} of ${maxTokens} tokens left`,
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

  #permits(effect: Effect, remaining: number, budget: number): boolean {
    return effect.count <= remaining &&
      this.#fewest[effect.pending][remaining - effect.count] < budget;
  }

  /** Walk every token from every unfinished character that some token leaves behind. */
  #findEffects(tokenizer: FastTokenizer): number[] {
    const pendings = [0];
    const indexOf = new Map([[0, 0]]);
    for (let p = 0; p < pendings.length; p++) {
      const effects: Effect[] = [];
      const known = new Map<number, number>();
      const effectOf = new Int32Array(this.vocabSize).fill(-1);
      for (let token = 0; token < this.vocabSize; token++) {
        let count = 0;
        let pending = pendings[p];
        const bytes = tokenizer.bpe.tokenBytes(token);
        if (bytes.length === 0) continue; // it would let a chunk stand still
        for (const byte of bytes) {
          const step = stepUtf8(pending, byte, tokenizer.alphabetSize);
          if (step === -1) {
            pending = -1;
            break;
          }
          if (step < 0) count++;
          pending = step < 0 ? 0 : step;
        }
        if (pending < 0 || count > this.coefficients) continue;
        let index = indexOf.get(pending);
        if (index === undefined) {
          index = pendings.length;
          indexOf.set(pending, index);
          pendings.push(pending);
        }
        const key = index * (this.coefficients + 1) + count;
        let effect = known.get(key);
        if (effect === undefined) {
          effect = effects.length;
          known.set(key, effect);
          effects.push({ count, pending: index });
        }
        effectOf[token] = effect;
      }
      this.#effects.push(effects);
      this.#effectOf.push(effectOf);
    }
    return pendings;
  }

  /** Fill the table of fewest tokens, from no coefficient missing upwards. */
  #findFewest(pendings: readonly number[]): void {
    // A token that completes no character only lengthens the unfinished one. With the longest
    // first, every entry needed for one number of missing coefficients is there in time.
    const order = pendings.map((_, p) => p)
      .sort((a, b) => bytesSoFar(pendings[b]) - bytesSoFar(pendings[a]));
    for (let p = 0; p < pendings.length; p++) {
      this.#fewest.push(new Int32Array(this.coefficients + 1).fill(UNREACHABLE));
    }
    this.#fewest[0][0] = 0;
    let ample = 1;
    for (let remaining = 1; remaining <= this.coefficients; remaining++) {
      for (const p of order) {
        let fewest = UNREACHABLE;
        for (const { count, pending } of this.#effects[p]) {
          if (count > remaining) continue;
          fewest = Math.min(fewest, 1 + this.#fewest[pending][remaining - count]);
        }
        fewest = Math.min(fewest, UNREACHABLE);
        this.#fewest[p][remaining] = fewest;
        if (fewest < UNREACHABLE) ample = Math.max(ample, fewest + 1);
      }
      this.#ample[remaining] = ample;
    }
  }
}

/** Bytes of an unfinished character as {@link stepUtf8} packs it: its length less the missing. */
function bytesSoFar(pending: number): number {
  return ((pending >> 2) & 3) - (pending & 3);
}

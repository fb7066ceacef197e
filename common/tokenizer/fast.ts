/**
 * The FAST action tokenizer: a chunk of normalised actions to a handful of tokens and back.
 *
 * Encode: cosine transform along time, times `scale`, rounded half to even, flattened lowest
 * frequency first, minus `minToken`, one character a coefficient, byte-level BPE. Decode is the
 * reverse; neither the horizon nor the action dimension is in the tokens, so both are given.
 * Layout and arithmetic follow the processor of physical-intelligence/fast.
 *
 * The *alphabet* is the characters 0 … `alphabetSize` − 1, the coefficients from `minToken` to
 * `minToken + alphabetSize − 1`. A coefficient outside it is clipped to its nearest end before
 * encoding, and a character outside it is refused by `decode`: a chunk never holds a coefficient
 * that no demonstration had. The reference clips below only. What lies above it writes with
 * whatever bytes its vocabulary has, and drops the others; `"reference"` asks for that.
 *
 * Letters: H horizon, A action dimension, S tokens of a chunk.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { ByteLevelBpe } from "./bpe.ts";
import { MAX_ALPHABET_SIZE, stepUtf8, toByteChars } from "./byte_level.ts";
import { dct, inverseDct } from "./dct.ts";
import { type FastFiles, readFastFiles, writeFastFiles } from "./fast_files.ts";

/** Longer chunks would reach the reference trainer's bound on a token's length. */
const MAX_COEFFICIENTS = 9_999;

/** Actions or coefficients; the reference computes in double precision whatever it is given as. */
export type Chunk = Float32Array | Float64Array;

/**
 * What becomes of a coefficient outside the alphabet: clipped to its nearest end, or written and
 * read as FAST's processor does, which can lose it.
 */
export type OutsideAlphabet = "clip" | "reference";

/** Settings of {@link FastTokenizer.fit}. */
export interface FitOptions {
  /** Coefficients are multiplied by this before rounding. Default 10, FAST's own. */
  readonly scale?: number;
  /** Most tokens to learn; the alphabet must fit. */
  readonly vocabSize: number;
  /** H of every chunk. */
  readonly horizon: number;
  /** A of every chunk. */
  readonly actionDim: number;
  /**
   * The tokens that training starts from. `reference`, the default, has one raw character for
   * every integer between the extremes, as FAST's processor has: an integer that the data skipped
   * may then lack the bytes to write it. `complete` has those bytes too, and can encode them all.
   */
  readonly alphabet?: "reference" | "complete";
}

/** The FAST tokenizer. Immutable. */
export class FastTokenizer {
  /** The BPE over coefficient characters. */
  readonly bpe: ByteLevelBpe;
  /** Factor between coefficients and integers. */
  readonly scale: number;
  /** The integer that character 0 stands for. */
  readonly minToken: number;
  /** Number of characters, from 0 on, that stand for coefficients. */
  readonly alphabetSize: number;
  /** H that the tokenizer was fitted for, if its files say. */
  readonly horizon: number | null;
  /** A that the tokenizer was fitted for, if its files say. */
  readonly actionDim: number | null;

  readonly #nominalVocabSize: number;
  #fingerprint: string | undefined;

  private constructor(files: FastFiles) {
    this.bpe = files.bpe;
    this.scale = files.scale;
    this.minToken = files.minToken;
    this.alphabetSize = files.alphabetSize;
    this.horizon = files.horizon;
    this.actionDim = files.actionDim;
    this.#nominalVocabSize = files.vocabSize;
  }

  /**
   * Learn a tokenizer from chunks, merge for merge as FAST's processor does.
   *
   * @param chunks Normalised actions, each `[H, A]`.
   * @param options Scale, size of the vocabulary and the chunks' shape.
   * @returns The tokenizer. Its vocabulary may be smaller than asked, if the data runs out of
   * pairs that occur twice.
   * @throws {RangeError} If there is no chunk, one has another shape or a value that is not
   * finite, or the vocabulary cannot hold the alphabet.
   */
  static fit(chunks: readonly Chunk[], options: FitOptions): FastTokenizer {
    const { scale = 10, vocabSize, horizon, actionDim } = options;
    const isComplete = options.alphabet === "complete";
    if (chunks.length === 0) throw new RangeError("Cannot fit the tokenizer: no chunks were given");
    if (!(scale > 0) || !Number.isFinite(scale)) {
      throw new RangeError(`Cannot fit the tokenizer: scale is ${scale}, must be above 0`);
    }
    if (horizon * actionDim > MAX_COEFFICIENTS) {
      throw new RangeError(
        `Cannot fit the tokenizer: a chunk of ${horizon} × ${actionDim} has more than ` +
          `${MAX_COEFFICIENTS} coefficients`,
      );
    }
    const quantised = chunks.map((chunk) => quantise(chunk, scale, horizon, actionDim));
    let min = Infinity;
    let max = -Infinity;
    for (const values of quantised) {
      for (const value of values) {
        if (value < min) min = value;
        if (value > max) max = value;
      }
    }
    const alphabetSize = max - min + 1;
    const alphabet = fastAlphabet(alphabetSize, isComplete);
    // The reference asks for one token fewer than there are raw characters, and exceeds its size.
    const needed = isComplete ? alphabet.size : alphabetSize - 1;
    if (needed > vocabSize) {
      throw new RangeError(
        `Cannot fit the tokenizer: coefficients from ${min} to ${max} need ${needed} ` +
          `tokens, vocabSize is ${vocabSize}; raise it or lower the scale of ${scale}`,
      );
    }
    const corpus = quantised.map((values) =>
      Array.from(values, (value) => String.fromCharCode(value - min)).join("")
    );
    const bpe = ByteLevelBpe.train(corpus, { vocabSize, initialAlphabet: alphabet });
    return new FastTokenizer({
      bpe,
      scale,
      minToken: min,
      alphabetSize,
      horizon,
      actionDim,
      vocabSize,
    });
  }

  /**
   * Read a tokenizer that {@link save} or FAST's processor wrote.
   *
   * @param dir Folder with `tokenizer.json` and `processor_config.json`.
   * @returns The tokenizer.
   * @throws {Error} If a file is missing.
   * @throws {SyntaxError} If a file is corrupt.
   */
  static async load(dir: string): Promise<FastTokenizer> {
    return new FastTokenizer(await readFastFiles(dir));
  }

  /**
   * Write the tokenizer in the layout of FAST's processor.
   *
   * @param dir Folder, made if it is not there.
   */
  async save(dir: string): Promise<void> {
    await writeFastFiles(dir, {
      bpe: this.bpe,
      scale: this.scale,
      minToken: this.minToken,
      alphabetSize: this.alphabetSize,
      horizon: this.horizon,
      actionDim: this.actionDim,
      vocabSize: this.#nominalVocabSize,
    });
  }

  /** Number of tokens that there are: ids run from 0 to `vocabSize` − 1. */
  get vocabSize(): number {
    return this.bpe.size;
  }

  /**
   * Encode a chunk.
   *
   * @param actions Normalised actions `[H, A]`, nominally in [−1, 1].
   * @param horizon H.
   * @param actionDim A.
   * @param outside What becomes of coefficients outside the alphabet.
   * @returns Token ids `[S]`.
   * @throws {RangeError} If the shape is wrong, a value is not finite, or the vocabulary cannot
   * write a coefficient (only one fitted without the `complete` alphabet) that may not be dropped.
   */
  encode(
    actions: Chunk,
    horizon: number,
    actionDim: number,
    outside: OutsideAlphabet = "clip",
  ): Int32Array {
    const values = quantise(actions, this.scale, horizon, actionDim);
    const greatest = (outside === "clip" ? this.alphabetSize : MAX_ALPHABET_SIZE) - 1;
    const codes = new Uint16Array(values.length);
    for (let i = 0; i < codes.length; i++) {
      codes[i] = Math.min(Math.max(values[i] - this.minToken, 0), greatest);
    }
    return this.bpe.encodeCodes(codes, outside === "clip" ? "refuse" : "drop");
  }

  /**
   * Decode a chunk.
   *
   * @param tokens Token ids `[S]`.
   * @param horizon H.
   * @param actionDim A.
   * @param outside `reference` reads coefficients above the alphabet too.
   * @returns Normalised actions `[H, A]`.
   * @throws {RangeError} If the tokens do not hold exactly H·A coefficients of the alphabet. (FAST's
   * processor returns zeros then, which un-normalise to the mean action.)
   */
  decode(
    tokens: ArrayLike<number>,
    horizon: number,
    actionDim: number,
    outside: OutsideAlphabet = "clip",
  ): Float32Array {
    const values = this.decodeCoefficients(tokens, outside);
    const wanted = horizon * actionDim;
    if (values.length !== wanted) {
      throw new RangeError(
        `Cannot decode the chunk: ${tokens.length} tokens hold ${values.length} coefficients, ` +
          `horizon ${horizon} × action dimension ${actionDim} needs ${wanted}`,
      );
    }
    const coefficients = new Float64Array(wanted);
    for (let i = 0; i < wanted; i++) coefficients[i] = values[i] / this.scale;
    return new Float32Array(inverseDct(coefficients, horizon, actionDim));
  }

  /**
   * The integers that tokens stand for, whatever their number.
   *
   * @param tokens Token ids `[S]`.
   * @param outside `reference` reads coefficients above the alphabet too.
   * @returns Scaled and rounded coefficients, lowest frequency first.
   * @throws {RangeError} If an id is unknown, or the bytes are not UTF-8 or leave the alphabet.
   */
  decodeCoefficients(tokens: ArrayLike<number>, outside: OutsideAlphabet = "clip"): Int32Array {
    const size = outside === "clip" ? this.alphabetSize : MAX_ALPHABET_SIZE;
    const values: number[] = [];
    let pending = 0;
    for (let s = 0; s < tokens.length; s++) {
      for (const byte of this.bpe.tokenBytes(tokens[s])) {
        const step = stepUtf8(pending, byte, size);
        if (step === -1) {
          throw new RangeError(
            `Cannot decode the chunk: token ${tokens[s]} at position ${s} gives no character ` +
              `from 0 to ${size - 1}`,
          );
        }
        if (step < 0) values.push(-2 - step + this.minToken);
        pending = step < 0 ? 0 : step;
      }
    }
    if (pending !== 0) {
      throw new RangeError(
        `Cannot decode the chunk: its ${tokens.length} tokens end inside a character`,
      );
    }
    return Int32Array.from(values);
  }

  /**
   * SHA-256 of everything that decides what a token means: two tokenizers with one fingerprint
   * encode and decode alike. Default horizon and action dimension do not count.
   *
   * @returns 64 hexadecimal digits.
   */
  fingerprint(): string {
    this.#fingerprint ??= createHash("sha256").update(JSON.stringify([
      "fast-1",
      this.scale,
      this.minToken,
      this.alphabetSize,
      this.bpe.tokens,
      this.bpe.merges,
    ])).digest("hex");
    return this.#fingerprint;
  }
}

/** The tokens that training starts from: raw characters and, if asked, the bytes that write them. */
function fastAlphabet(alphabetSize: number, isComplete: boolean): Set<string> {
  if (alphabetSize > MAX_ALPHABET_SIZE) {
    throw new RangeError(
      `Cannot fit the tokenizer: coefficients span ${alphabetSize} integers, at most ` +
        `${MAX_ALPHABET_SIZE} can be written; normalise the actions or lower the scale`,
    );
  }
  const alphabet = new Set<string>();
  for (let code = 0; code < alphabetSize; code++) {
    const char = String.fromCharCode(code);
    alphabet.add(char);
    if (isComplete) { for (const byteChar of toByteChars(char)) alphabet.add(byteChar); }
  }
  return alphabet;
}

function quantise(
  actions: Chunk,
  scale: number,
  horizon: number,
  actionDim: number,
): Float64Array {
  const coefficients = dct(actions, horizon, actionDim);
  for (let i = 0; i < coefficients.length; i++) {
    const value = roundHalfEven(coefficients[i] * scale);
    if (!Number.isFinite(value)) {
      throw new RangeError(
        `Cannot encode the chunk: action dimension ${i % actionDim} has a value that is not finite`,
      );
    }
    coefficients[i] = value;
  }
  return coefficients;
}

/** Round as the reference does: exact halves go to the even neighbour. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction !== 0.5) return fraction < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

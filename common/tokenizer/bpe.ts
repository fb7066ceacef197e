/**
 * Byte-level BPE: trains, encodes, and reads and writes Hugging Face's `tokenizer.json`.
 *
 * Covers what FAST's processor uses (model `BPE`, pre-tokenizer and decoder `ByteLevel` without a
 * prefix space, no special tokens) and refuses the rest rather than approximate it.
 *
 * @module
 */

import { z } from "zod";
import { BpeMerger } from "./bpe_merge.ts";
import { type Merge, trainBpe, type TrainBpeOptions } from "./bpe_train.ts";
import { endOfWord, splitWords, toByteChars, tokenToBytes } from "./byte_level.ts";

const byteLevelSchema = z.object({ type: z.literal("ByteLevel") });
const tokenizerSchema = z.object({
  added_tokens: z.array(z.unknown()).max(0, "added tokens are not supported").nullish(),
  normalizer: z.null().optional(),
  pre_tokenizer: byteLevelSchema.extend({
    add_prefix_space: z.literal(false),
    use_regex: z.literal(true).optional(),
  }),
  decoder: byteLevelSchema,
  model: z.object({
    type: z.literal("BPE").optional(),
    dropout: z.literal(0).nullish(),
    continuing_subword_prefix: z.literal("").nullish(),
    end_of_word_suffix: z.literal("").nullish(),
    byte_fallback: z.literal(false).optional(),
    ignore_merges: z.literal(false).optional(),
    vocab: z.record(z.string(), z.int().nonnegative()),
    // Libraries before 0.20 wrote a merge as one string with a space between its halves.
    merges: z.array(z.union([z.tuple([z.string(), z.string()]), z.string()])),
  }),
});

/** A trained byte-level BPE. Immutable. */
export class ByteLevelBpe {
  /** Tokens by id, as the vocabulary writes them. */
  readonly tokens: readonly string[];
  /** Merges by rank, as pairs of ids. */
  readonly merges: readonly Merge[];

  readonly #idOf: ReadonlyMap<string, number>;
  readonly #bytes: readonly Uint8Array[];
  readonly #merger: BpeMerger;
  readonly #symbols: (readonly number[] | undefined)[] = []; // by character code
  #ids = new Int32Array(0); // working memory of encode()

  /**
   * Make a BPE of what training or a file gave.
   *
   * @param tokens Tokens by id, each once.
   * @param merges Pairs of ids by rank; the concatenation of each must be a token.
   * @throws {RangeError} If a token occurs twice or a merge leads to no token.
   */
  constructor(tokens: readonly string[], merges: readonly Merge[]) {
    this.tokens = tokens;
    this.merges = merges;
    const ids = new Map(tokens.map((token, id) => [token, id]));
    if (ids.size !== tokens.length) {
      throw new RangeError(
        `Cannot build the BPE: ${tokens.length} tokens, but only ${ids.size} differ`,
      );
    }
    this.#idOf = ids;
    this.#bytes = tokens.map(tokenToBytes);
    const mergedIds = merges.map(([left, right], rank) => {
      const id = ids.get(`${tokens[left]}${tokens[right]}`);
      if (id === undefined) {
        throw new RangeError(
          `Cannot build the BPE: merge ${rank} of tokens ${left} and ${right} leads to no token`,
        );
      }
      return id;
    });
    this.#merger = new BpeMerger(merges, mergedIds);
  }

  /**
   * Learn a BPE from texts.
   *
   * @param corpus Texts; merges never cross from one into the next, nor out of a word.
   * @param options Size of the vocabulary, alphabet and least frequency.
   * @returns The trained BPE, equal to the reference library's for the same alphabet.
   */
  static train(corpus: Iterable<string>, options: TrainBpeOptions): ByteLevelBpe {
    const plain = new Map<string, number>();
    for (const text of corpus) {
      for (const word of splitWords(text)) plain.set(word, (plain.get(word) ?? 0) + 1);
    }
    const words = new Map<string, number>();
    for (const [word, count] of plain) words.set(toByteChars(word).join(""), count);
    const { tokens, merges } = trainBpe(words, options);
    return new ByteLevelBpe(tokens, merges);
  }

  /**
   * Read a `tokenizer.json`.
   *
   * @param text The file's content.
   * @param source What to call the file in errors.
   * @returns The BPE it holds.
   * @throws {SyntaxError} If the content is not JSON or not a tokenizer of the supported kind.
   */
  static fromJson(text: string, source: string): ByteLevelBpe {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (cause) {
      throw new SyntaxError(`Cannot read tokenizer ${source}: the file is not JSON`, { cause });
    }
    const parsed = tokenizerSchema.safeParse(json);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new SyntaxError(
        `Cannot read tokenizer ${source}: ${issue.path.join(".") || "the file"} is not as ` +
          `byte-level BPE has it (${issue.message})`,
        { cause: parsed.error },
      );
    }
    const { vocab, merges } = parsed.data.model;
    const entries = Object.entries(vocab);
    const tokens: string[] = new Array(entries.length);
    for (const [token, id] of entries) {
      if (id >= entries.length || tokens[id] !== undefined) {
        throw new SyntaxError(
          `Cannot read tokenizer ${source}: token id ${id} is used twice or is not below the ` +
            `number of tokens, ${entries.length}`,
        );
      }
      tokens[id] = token;
    }
    const pairs = merges.map((merge, rank): Merge => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      const pair = [vocab[left], vocab[right], vocab[`${left}${right}`]];
      if (!pair.every((id) => typeof id === "number")) {
        throw new SyntaxError(
          `Cannot read tokenizer ${source}: merge ${rank} names a token that is not in the ` +
            `vocabulary`,
        );
      }
      return [pair[0], pair[1]];
    });
    return new ByteLevelBpe(tokens, pairs);
  }

  /** Number of tokens. */
  get size(): number {
    return this.tokens.length;
  }

  /**
   * The bytes that a token decodes to. Shared: do not write to it.
   *
   * @param id A token's id.
   * @returns Its bytes, possibly a part of a character.
   * @throws {RangeError} If there is no such token.
   */
  tokenBytes(id: number): Uint8Array {
    const bytes = this.#bytes[id];
    if (bytes === undefined) {
      throw new RangeError(
        `Cannot decode token ${id}: the vocabulary has ids 0 to ${this.size - 1}`,
      );
    }
    return bytes;
  }

  /**
   * The tokens of one character before any merge.
   *
   * Tokenizers fitted by FAST's own processor may lack the bytes of a character that its data
   * never had; the raw token of that character then stands in where it decodes to the same.
   *
   * @param code The character's code.
   * @returns Ids, or an empty list if the vocabulary cannot write the character.
   */
  symbolsOf(code: number): readonly number[] {
    const cached = this.#symbols[code];
    if (cached !== undefined) return cached;
    const char = String.fromCodePoint(code);
    const byteChars = toByteChars(char);
    let symbols = byteChars.map((c) => this.#idOf.get(c));
    if (symbols.includes(undefined)) {
      const raw = this.#idOf.get(char);
      const decodesToItself = raw !== undefined &&
        new TextDecoder().decode(this.#bytes[raw]) === char;
      symbols = decodesToItself ? [raw] : [];
    }
    const ids = symbols as number[];
    if (ids.length > 0) this.#symbols[code] = ids;
    return ids;
  }

  /**
   * Encode a text.
   *
   * @param text Any text without lone surrogates.
   * @returns Token ids.
   * @throws {RangeError} If the vocabulary cannot write a character. The reference library drops
   * such a character in silence.
   */
  encode(text: string): Int32Array {
    const out = this.#reserve(3 * text.length); // a UTF-16 unit stands for at most three bytes
    let length = 0;
    for (const word of splitWords(text)) {
      const from = length;
      for (const char of word) {
        for (const id of this.#symbolsOrThrow(char.codePointAt(0)!)) out[length++] = id;
      }
      length = from + this.#merger.merge(out, from, length);
    }
    return out.slice(0, length);
  }

  /**
   * Encode characters given by their codes; the fast way for FAST.
   *
   * @param codes Character codes, each below 0xD800.
   * @param unknown What to do with a character that the vocabulary cannot write: `refuse` it, or
   * `drop` those of its bytes that have no token, as the reference library does in silence.
   * @returns Token ids.
   * @throws {RangeError} If a character is refused.
   */
  encodeCodes(codes: Uint16Array, unknown: "refuse" | "drop" = "refuse"): Int32Array {
    const out = this.#reserve(3 * codes.length);
    let length = 0;
    for (let at = 0; at < codes.length;) {
      const from = length;
      for (const end = endOfWord(codes, at); at < end; at++) {
        const symbols = unknown === "refuse"
          ? this.#symbols[codes[at]] ?? this.#symbolsOrThrow(codes[at])
          : this.#knownBytesOf(codes[at]);
        for (let s = 0; s < symbols.length; s++) out[length++] = symbols[s];
      }
      length = from + this.#merger.merge(out, from, length);
    }
    return out.slice(0, length);
  }

  #reserve(ids: number): Int32Array {
    if (this.#ids.length < ids) this.#ids = new Int32Array(2 * ids);
    return this.#ids;
  }

  #symbolsOrThrow(code: number): readonly number[] {
    const symbols = this.symbolsOf(code);
    if (symbols.length > 0) return symbols;
    throw new RangeError(
      `Cannot encode the text: the vocabulary of ${this.size} tokens has none for character ${code}`,
    );
  }

  /** Tokens of those bytes of a character that have one. */
  #knownBytesOf(code: number): readonly number[] {
    return toByteChars(String.fromCodePoint(code)).map((char) => this.#idOf.get(char))
      .filter((id) => id !== undefined);
  }

  /**
   * Write a `tokenizer.json`, laid out as the reference library writes it.
   *
   * @returns The file's content.
   */
  toJson(): string {
    // Vocabulary by hand: an object would put tokens such as "7" before all others.
    const vocab = this.tokens.map((token, id) => `      ${JSON.stringify(token)}: ${id}`);
    const rest = JSON.stringify(
      {
        version: "1.0",
        truncation: null,
        padding: null,
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: byteLevel(false, true),
        post_processor: byteLevel(true, false),
        decoder: byteLevel(true, true),
        model: {
          type: "BPE",
          dropout: null,
          unk_token: null,
          continuing_subword_prefix: null,
          end_of_word_suffix: null,
          fuse_unk: false,
          byte_fallback: false,
          ignore_merges: false,
          vocab: "VOCAB",
          merges: this.merges.map(([l, r]) => [this.tokens[l], this.tokens[r]]),
        },
      },
      null,
      2,
    );
    return rest.replace('"VOCAB"', () => `{\n${vocab.join(",\n")}\n    }`);
  }
}

function byteLevel(addPrefixSpace: boolean, trimOffsets: boolean): Record<string, unknown> {
  return {
    type: "ByteLevel",
    add_prefix_space: addPrefixSpace,
    trim_offsets: trimOffsets,
    use_regex: true,
  };
}

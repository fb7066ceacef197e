/**
 * Byte-level BPE: trains, encodes, and reads and writes Hugging Face's `tokenizer.json`.
 *
 * Covers what FAST's processor uses (model `BPE`, pre-tokenizer and decoder `ByteLevel` without a
 * prefix space, no special tokens) and refuses the rest rather than approximate it.
 *
 * @module
 */

import { z } from "zod";
import { type Merge, trainBpe, type TrainBpeOptions } from "./bpe_train.ts";
import { splitWords, toByteChars, tokenToBytes } from "./byte_level.ts";

/** Heap keys are `rank · POSITION_BASE + position`: a text may have this many symbols a word. */
const POSITION_BASE = 2 ** 22;

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

  readonly #ids: ReadonlyMap<string, number>;
  readonly #bytes: readonly Uint8Array[];
  readonly #ranks: PairTable;
  readonly #mergedIds: Int32Array;
  readonly #symbols = new Map<number, readonly number[]>();

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
    this.#ids = ids;
    this.#bytes = tokens.map(tokenToBytes);
    this.#ranks = new PairTable(merges.length);
    this.#mergedIds = new Int32Array(merges.length);
    merges.forEach(([left, right], rank) => {
      const id = ids.get(`${tokens[left]}${tokens[right]}`);
      if (id === undefined) {
        throw new RangeError(
          `Cannot build the BPE: merge ${rank} of tokens ${left} and ${right} leads to no token`,
        );
      }
      this.#ranks.set(left, right, rank);
      this.#mergedIds[rank] = id;
    });
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
    const cached = this.#symbols.get(code);
    if (cached !== undefined) return cached;
    const char = String.fromCodePoint(code);
    const byteChars = toByteChars(char);
    let symbols = byteChars.map((c) => this.#ids.get(c));
    if (symbols.includes(undefined)) {
      const raw = this.#ids.get(char);
      const decodesToItself = raw !== undefined &&
        new TextDecoder().decode(this.#bytes[raw]) === char;
      symbols = decodesToItself ? [raw] : [];
    }
    const ids = symbols as number[];
    this.#symbols.set(code, ids);
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
    const out: number[] = [];
    for (const word of splitWords(text)) this.#encodeWord(word, out);
    return Int32Array.from(out);
  }

  #encodeWord(word: string, out: number[]): void {
    const symbols: number[] = [];
    for (let i = 0; i < word.length; i++) {
      const code = word.codePointAt(i)!;
      if (code > 0xffff) i++;
      const ids = this.symbolsOf(code);
      if (ids.length === 0) {
        throw new RangeError(
          `Cannot encode the text: the vocabulary of ${this.size} tokens has none for ` +
            `character ${code}`,
        );
      }
      for (const id of ids) symbols.push(id);
    }
    if (symbols.length > 1) this.#merge(symbols);
    for (const id of symbols) if (id >= 0) out.push(id);
  }

  /** Merge in place, lowest rank first and leftmost on ties; what was merged away becomes −1. */
  #merge(symbols: number[]): void {
    const count = symbols.length;
    const next = new Int32Array(count);
    const previous = new Int32Array(count);
    const heap = new NumberHeap(count);
    const enqueue = (at: number) => {
      const rank = this.#ranks.get(symbols[at], symbols[next[at]]);
      if (rank >= 0) heap.push(rank * POSITION_BASE + at);
    };
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      if (i + 1 < count) enqueue(i);
    }
    for (let key = heap.pop(); key >= 0; key = heap.pop()) {
      const rank = Math.floor(key / POSITION_BASE);
      const at = key - rank * POSITION_BASE;
      const right = next[at];
      // An entry is stale once either of its two symbols took part in another merge.
      if (symbols[at] < 0 || right >= count) continue;
      if (this.#ranks.get(symbols[at], symbols[right]) !== rank) continue;
      symbols[at] = this.#mergedIds[rank];
      symbols[right] = -1;
      next[at] = next[right];
      if (next[at] < count) {
        previous[next[at]] = at;
        enqueue(at);
      }
      if (previous[at] >= 0) enqueue(previous[at]);
    }
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

/** Ranks by pair of ids: open addressing, at most half full. */
class PairTable {
  readonly #mask: number;
  readonly #lefts: Int32Array;
  readonly #rights: Int32Array;
  readonly #ranks: Int32Array;

  constructor(count: number) {
    let size = 16;
    while (size < 2 * count) size *= 2;
    this.#mask = size - 1;
    this.#lefts = new Int32Array(size).fill(-1);
    this.#rights = new Int32Array(size);
    this.#ranks = new Int32Array(size);
  }

  set(left: number, right: number, rank: number): void {
    const slot = this.#slot(left, right);
    this.#lefts[slot] = left;
    this.#rights[slot] = right;
    this.#ranks[slot] = rank;
  }

  /** The pair's rank, or −1. */
  get(left: number, right: number): number {
    const slot = this.#slot(left, right);
    return this.#lefts[slot] < 0 ? -1 : this.#ranks[slot];
  }

  #slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 7 & this.#mask;
    while (this.#lefts[slot] >= 0 && (this.#lefts[slot] !== left || this.#rights[slot] !== right)) {
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

/** A binary heap of non-negative numbers, the smallest first. */
class NumberHeap {
  readonly #items: Float64Array;
  #size = 0;

  /** @param symbols Symbols of the word: no merge adds more than one entry net of its own. */
  constructor(symbols: number) {
    // One entry a neighbouring pair, and at most two more for each of the symbols − 1 merges.
    this.#items = new Float64Array(3 * symbols);
  }

  push(value: number): void {
    const items = this.#items;
    let i = this.#size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (items[parent] <= value) break;
      items[i] = items[parent];
      i = parent;
    }
    items[i] = value;
  }

  /** Take the smallest, or −1 if there is none. */
  pop(): number {
    if (this.#size === 0) return -1;
    const items = this.#items;
    const top = items[0];
    const last = items[--this.#size];
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && items[child + 1] < items[child]) child++;
      if (items[child] >= last) break;
      items[i] = items[child];
      i = child;
    }
    items[i] = last;
    return top;
  }
}

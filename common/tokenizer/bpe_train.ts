/**
 * Learns BPE merges from a corpus, merge for merge as the reference library does.
 *
 * The most frequent pair of neighbouring symbols becomes a new symbol, again and again; ties go
 * to the pair with the smaller ids. Three habits of the reference look like accidents but decide
 * which merges come out, and are therefore kept:
 * - a queue entry remembers only the words in which its pair arose at that step;
 * - the count of a pair is not reset once it was merged;
 * - a pair merged twice keeps the later place.
 *
 * @module
 */

/** A merge: the ids of its left and its right symbol. */
export type Merge = readonly [left: number, right: number];

/** What training gives. */
export interface LearntBpe {
  /** Tokens by id: the alphabet sorted by code, then one token a new merge. */
  readonly tokens: readonly string[];
  /** Merges, the most urgent first. */
  readonly merges: readonly Merge[];
}

/** Settings of {@link trainBpe}. */
export interface TrainBpeOptions {
  /** Stop at this many tokens. */
  readonly vocabSize: number;
  /** Single characters that get a token whether or not the corpus has them. */
  readonly initialAlphabet: Iterable<string>;
  /** A pair seen less often is not merged. Default 2, as in FAST's processor. */
  readonly minFrequency?: number;
}

interface Candidate {
  readonly pair: number;
  count: number;
  readonly words: ReadonlySet<number>;
}

/** Pairs are keyed `left · PAIR_BASE + right`, exact in a double up to 2²⁶ ids. */
const PAIR_BASE = 2 ** 26;

/**
 * Learn a vocabulary and its merges.
 *
 * @param wordCounts How often the corpus has each word; words are in byte-level characters.
 * @param options Size of the vocabulary, alphabet and least frequency.
 * @returns Tokens and merges. Fewer than `vocabSize` tokens if the corpus has no more pairs; more
 * if the alphabet alone is larger.
 */
export function trainBpe(
  wordCounts: ReadonlyMap<string, number>,
  options: TrainBpeOptions,
): LearntBpe {
  const { vocabSize, minFrequency = 2 } = options;
  const alphabet = new Set(options.initialAlphabet);
  for (const word of wordCounts.keys()) for (const char of word) alphabet.add(char);
  const tokens = [...alphabet].sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!);
  const ids = new Map(tokens.map((token, id) => [token, id]));

  const words: number[][] = [];
  const counts: number[] = [];
  for (const [word, count] of wordCounts) {
    words.push(Array.from(word, (char) => ids.get(char)!));
    counts.push(count);
  }

  const pairCounts = new Map<number, number>();
  let arisen = new Map<number, Set<number>>();
  const note = (pair: number, change: number, word: number) => {
    pairCounts.set(pair, (pairCounts.get(pair) ?? 0) + change * counts[word]);
    if (change < 0) return;
    const where = arisen.get(pair);
    if (where === undefined) arisen.set(pair, new Set([word]));
    else where.add(word);
  };
  const queue = new CandidateQueue();
  const enqueueArisen = () => {
    for (const [pair, where] of arisen) {
      const count = pairCounts.get(pair)!;
      if (count > 0) queue.push({ pair, count, words: where });
    }
    arisen = new Map();
  };

  words.forEach((word, w) => {
    for (let i = 0; i + 1 < word.length; i++) note(word[i] * PAIR_BASE + word[i + 1], 1, w);
  });
  enqueueArisen();

  const rankOf = new Map<number, number>();
  let rank = 0;
  while (tokens.length < vocabSize) {
    const top = queue.pop();
    if (top === undefined) break;
    const count = pairCounts.get(top.pair)!;
    if (top.count !== count) {
      top.count = count;
      queue.push(top);
      continue;
    }
    if (count < 1 || count < minFrequency) break;
    const left = Math.floor(top.pair / PAIR_BASE);
    const right = top.pair % PAIR_BASE;
    const token = tokens[left] + tokens[right];
    let id = ids.get(token);
    if (id === undefined) {
      id = tokens.length;
      tokens.push(token);
      ids.set(token, id);
    }
    rankOf.set(top.pair, rank++);
    for (const w of top.words) mergeInWord(words[w], left, right, id, w, note);
    enqueueArisen();
  }

  const merges = [...rankOf].sort((a, b) => a[1] - b[1]).map(([pair]): Merge => [
    Math.floor(pair / PAIR_BASE),
    pair % PAIR_BASE,
  ]);
  return { tokens, merges };
}

/** Replace every (left, right) in a word, from the left, and report how pair counts change. */
function mergeInWord(
  word: number[],
  left: number,
  right: number,
  merged: number,
  index: number,
  note: (pair: number, change: number, word: number) => void,
): void {
  let to = 0;
  for (let from = 0; from < word.length; from++) {
    if (word[from] !== left || from + 1 >= word.length || word[from + 1] !== right) {
      word[to++] = word[from];
      continue;
    }
    from++;
    if (to > 0) {
      note(word[to - 1] * PAIR_BASE + left, -1, index);
      note(word[to - 1] * PAIR_BASE + merged, 1, index);
    }
    if (from + 1 < word.length) {
      note(right * PAIR_BASE + word[from + 1], -1, index);
      note(merged * PAIR_BASE + word[from + 1], 1, index);
    }
    word[to++] = merged;
  }
  word.length = to;
}

/** A binary heap: the most frequent candidate first, then the smaller pair. */
class CandidateQueue {
  readonly #items: Candidate[] = [];

  push(item: Candidate): void {
    const items = this.#items;
    let i = items.length;
    items.push(item);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(item, items[parent])) break;
      items[i] = items[parent];
      i = parent;
    }
    items[i] = item;
  }

  pop(): Candidate | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && isBefore(items[child + 1], items[child])) child++;
      if (!isBefore(items[child], last)) break;
      items[i] = items[child];
      i = child;
    }
    items[i] = last;
    return top;
  }
}

function isBefore(a: Candidate, b: Candidate): boolean {
  return a.count !== b.count ? a.count > b.count : a.pair < b.pair;
}

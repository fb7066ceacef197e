/**
 * Applies BPE merges to one word: the lowest rank first, the leftmost on ties.
 *
 * A FAST chunk is often a single word of a few hundred symbols, for which searching the lowest
 * rank anew after every merge is quadratic. Here a heap holds the candidates and a linked list
 * the symbols, and ranks lie in one flat hash table.
 *
 * @module
 */

import type { Merge } from "./bpe_train.ts";

/** The merges of a vocabulary, ready to be applied. Not to be called from inside a call. */
export class BpeMerger {
  readonly #ranks: PairTable;
  readonly #mergedIds: Int32Array;
  /** Heap keys are 31 bits: the rank, then so many bits of position. */
  readonly #positionBits: number;
  // Working memory, kept from word to word and grown to the longest.
  #next = new Int32Array(0);
  #previous = new Int32Array(0);
  #heap = new NumberHeap(0);

  /**
   * Index merges by their pair.
   *
   * @param merges Pairs of ids by rank.
   * @param mergedIds What each merge gives, by rank.
   */
  constructor(merges: readonly Merge[], mergedIds: ArrayLike<number>) {
    this.#ranks = new PairTable(merges.length);
    merges.forEach(([left, right], rank) => this.#ranks.set(left, right, rank));
    this.#mergedIds = Int32Array.from(mergedIds);
    this.#positionBits = Math.clz32(merges.length) - 1;
  }

  /**
   * Merge the symbols of one word in place.
   *
   * @param symbols Ids before any merge; overwritten.
   * @param from Index of the word's first symbol.
   * @param to One past its last.
   * @returns How many ids there are after all merges; they begin at `from`.
   * @throws {RangeError} If the word has more symbols than heap keys can tell apart: 2²⁰ with 2,000
   * merges, 2¹⁵ with 65,000.
   */
  merge(symbols: Int32Array, from: number, to: number): number {
    const count = to - from;
    if (count < 2) return count;
    const bits = this.#positionBits;
    if (count > 2 ** bits) {
      throw new RangeError(
        `Cannot merge a word of ${count} symbols: ${this.#mergedIds.length} merges allow ` +
          `${2 ** bits}; encode shorter chunks`,
      );
    }
    const positionMask = (1 << bits) - 1;
    const word = symbols.subarray(from, to);
    if (this.#next.length < count) this.#grow(count);
    const [next, previous, heap, ranks] = [this.#next, this.#previous, this.#heap, this.#ranks];
    heap.clear();
    for (let i = 0; i < count; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      const rank = i + 1 < count ? ranks.get(word[i], word[i + 1]) : -1;
      if (rank >= 0) heap.push((rank << bits) | i);
    }
    for (let key = heap.pop(); key >= 0; key = heap.pop()) {
      const rank = key >> bits;
      const at = key & positionMask;
      const right = next[at];
      // An entry is stale once either of its two symbols took part in another merge.
      if (word[at] < 0 || right >= count || ranks.get(word[at], word[right]) !== rank) continue;
      const merged = this.#mergedIds[rank];
      const after = next[right];
      const before = previous[at];
      word[at] = merged;
      word[right] = -1;
      next[at] = after;
      if (after < count) {
        previous[after] = at;
        const found = ranks.get(merged, word[after]);
        if (found >= 0) heap.push((found << bits) | at);
      }
      if (before >= 0) {
        const found = ranks.get(word[before], merged);
        if (found >= 0) heap.push((found << bits) | before);
      }
    }
    let left = 0;
    for (let i = 0; i < count; i = next[i]) word[left++] = word[i];
    return left;
  }

  #grow(count: number): void {
    this.#next = new Int32Array(2 * count);
    this.#previous = new Int32Array(2 * count);
    this.#heap = new NumberHeap(2 * count);
  }
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
  readonly #items: Int32Array;
  #size = 0;

  /** @param symbols Symbols of the word: no merge adds more than one entry net of its own. */
  constructor(symbols: number) {
    // One entry a neighbouring pair, and at most two more for each of the symbols − 1 merges.
    this.#items = new Int32Array(3 * symbols);
  }

  /** Drop everything. */
  clear(): void {
    this.#size = 0;
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

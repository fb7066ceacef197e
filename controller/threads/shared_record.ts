/**
 * A few numbers that one thread writes and others read, whole, without a lock.
 *
 * There are two places, and a count of the writings: an even one is in the first place, an odd one in
 * the second. The writer fills the place that nobody shall read and then raises the count; a reader
 * copies the place that the count names, and reads again if the count has risen meanwhile. So a writer
 * that is stopped midway, as the main thread is when a real-time thread wants its processor, keeps
 * nobody from reading what it wrote before. Every word is stored and loaded with Atomics, so this holds
 * on processors that reorder plain memory accesses too. There must be one writer.
 *
 * @module
 */

/** What threads share of a {@link SharedRecord}; can be posted to a Worker. */
export type SharedRecordMemory = SharedArrayBuffer;

const COUNT = 0;
const HEADER_WORDS = 2;
const PLACES = 2;
const WORDS_PER_DOUBLE = 2;
/** A reader is overtaken so often by a writer that does nothing but write. */
const MAX_ATTEMPTS = 10_000;

/** One end of a record of `length` doubles. */
export class SharedRecord {
  /** Doubles of the record. */
  readonly length: number;
  /** What another thread needs to open its end. */
  readonly memory: SharedRecordMemory;
  readonly #words: Int32Array;
  readonly #scratch: Float64Array;
  readonly #scratchWords: Int32Array;

  /**
   * Open an end of a record.
   *
   * @param memory From {@link createRecordMemory}.
   */
  constructor(memory: SharedRecordMemory) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
    this.length = (this.#words.length - HEADER_WORDS) / (PLACES * WORDS_PER_DOUBLE);
    this.#scratch = new Float64Array(this.length);
    this.#scratchWords = new Int32Array(this.#scratch.buffer);
  }

  /** How often the record has been written. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /**
   * Replace the record. Only one thread may ever call this.
   *
   * @param values At most `length` doubles; what lies beyond them is any that was there before.
   */
  write(values: ArrayLike<number>): void {
    const words = this.#words, from = this.#scratchWords;
    for (let i = 0; i < values.length; i++) this.#scratch[i] = values[i];
    const count = Atomics.load(words, COUNT) + 1;
    const at = this.#placeOf(count);
    const length = WORDS_PER_DOUBLE * values.length;
    for (let i = 0; i < length; i++) Atomics.store(words, at + i, from[i]);
    Atomics.store(words, COUNT, count);
    Atomics.notify(words, COUNT);
  }

  /**
   * Read the whole record.
   *
   * @param out Receives `length` doubles; unchanged when false is returned.
   * @returns Whether it was read: false when it has never been written.
   */
  read(out: Float64Array): boolean {
    const words = this.#words, to = this.#scratchWords;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const count = Atomics.load(words, COUNT);
      if (count === 0) return false;
      const at = this.#placeOf(count);
      for (let i = 0; i < to.length; i++) to[i] = Atomics.load(words, at + i);
      // Two writings later this place is written again; one later that may already have begun.
      if (Atomics.load(words, COUNT) !== count) continue;
      out.set(this.#scratch);
      return true;
    }
    return false;
  }

  /** Index of the first word of a writing. */
  #placeOf(count: number): number {
    // By its last bit: after 124 days at 200 Hz the count is negative.
    return HEADER_WORDS + (count & 1) * WORDS_PER_DOUBLE * this.length;
  }
}

/**
 * Memory of a record.
 *
 * @param length Doubles, 1 or more.
 * @returns Memory that has never been written.
 */
export function createRecordMemory(length: number): SharedRecordMemory {
  return new SharedArrayBuffer(4 * (HEADER_WORDS + PLACES * WORDS_PER_DOUBLE * length));
}

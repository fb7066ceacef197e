/**
 * A few numbers that one thread writes and others read, whole, without a lock.
 *
 * A sequence lock: the writer makes the count odd, stores the numbers, makes it even; a reader that saw
 * an odd count, or another count after than before, reads again. Every word is stored and loaded with
 * Atomics, so this holds on processors that reorder plain memory accesses too. There must be one writer.
 *
 * @module
 */

/** What threads share of a {@link SharedRecord}; can be posted to a Worker. */
export type SharedRecordMemory = SharedArrayBuffer;

const COUNT = 0;
const HEADER_WORDS = 2;
/** A writer holds the record for microseconds: more attempts mean that its thread was stopped midway. */
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
    this.length = (this.#words.length - HEADER_WORDS) / 2;
    this.#scratch = new Float64Array(this.length);
    this.#scratchWords = new Int32Array(this.#scratch.buffer);
  }

  /** How often the record has been written; odd while it is being written. 0: never. */
  get count(): number {
    return Atomics.load(this.#words, COUNT);
  }

  /**
   * Replace the record. Only one thread may ever call this.
   *
   * @param values At most `length` doubles; what lies beyond them keeps its value.
   */
  write(values: ArrayLike<number>): void {
    const words = this.#words, from = this.#scratchWords;
    for (let i = 0; i < values.length; i++) this.#scratch[i] = values[i];
    const count = Atomics.load(words, COUNT);
    Atomics.store(words, COUNT, count + 1);
    for (let i = 0; i < 2 * values.length; i++) Atomics.store(words, HEADER_WORDS + i, from[i]);
    Atomics.store(words, COUNT, count + 2);
    Atomics.notify(words, COUNT);
  }

  /**
   * Read the whole record.
   *
   * @param out Receives `length` doubles; unchanged when false is returned.
   * @returns Whether it was read: false when it has never been written, or its writer stands still in
   * the middle of writing.
   */
  read(out: Float64Array): boolean {
    const words = this.#words, to = this.#scratchWords;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const before = Atomics.load(words, COUNT);
      if (before === 0) return false;
      if (before % 2 !== 0) continue;
      for (let i = 0; i < to.length; i++) to[i] = Atomics.load(words, HEADER_WORDS + i);
      if (Atomics.load(words, COUNT) !== before) continue;
      out.set(this.#scratch);
      return true;
    }
    return false;
  }
}

/**
 * Memory of a record.
 *
 * @param length Doubles, 1 or more.
 * @returns Memory that has never been written.
 */
export function createRecordMemory(length: number): SharedRecordMemory {
  return new SharedArrayBuffer(4 * (HEADER_WORDS + 2 * length));
}

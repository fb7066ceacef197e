/**
 * A queue of equally long rows of numbers from one thread to another, without a lock.
 *
 * One thread pushes, one takes. The producer stores a row before it publishes the new head, and the
 * consumer copies a row before it publishes the new tail, each with Atomics. A full queue refuses the
 * row and counts it: the producer never waits.
 *
 * @module
 */

/** What threads share; can be posted to a Worker. */
export interface SharedRingMemory {
  /** Doubles of a row. */
  readonly rowLength: number;
  /** Rows, a power of two. */
  readonly capacity: number;
  /** Head, tail and count of dropped rows, then the rows. */
  readonly shared: SharedArrayBuffer;
}

const HEAD = 0;
const TAIL = 1;
const DROPPED = 2;
const HEADER_BYTES = 16;

/**
 * Memory of a queue.
 *
 * @param rowLength Doubles of a row.
 * @param capacity Rows, a power of two.
 * @throws {RangeError} The capacity is not a power of two.
 */
export function createRingMemory(rowLength: number, capacity: number): SharedRingMemory {
  if (!(capacity > 0 && Number.isInteger(Math.log2(capacity)))) {
    throw new RangeError(
      `Cannot make a ring of ${capacity} rows: the number must be a power of two`,
    );
  }
  const shared = new SharedArrayBuffer(HEADER_BYTES + 8 * rowLength * capacity);
  return { rowLength, capacity, shared };
}

/** One end of a queue. */
export class SharedRing {
  readonly #memory: SharedRingMemory;
  readonly #header: Int32Array;
  readonly #rows: Float64Array;

  /** Open an end. @param memory From {@link createRingMemory}. */
  constructor(memory: SharedRingMemory) {
    this.#memory = memory;
    this.#header = new Int32Array(memory.shared, 0, HEADER_BYTES / 4);
    this.#rows = new Float64Array(memory.shared, HEADER_BYTES);
  }

  /** Rows that a full queue refused. */
  get dropped(): number {
    return Atomics.load(this.#header, DROPPED);
  }

  /**
   * Put a row at the end. For the one producer.
   *
   * @param row `rowLength` doubles.
   * @returns False when the queue is full; the row is counted as dropped.
   */
  push(row: Float64Array): boolean {
    const { rowLength, capacity } = this.#memory;
    const head = Atomics.load(this.#header, HEAD);
    // Heads and tails wrap at 2³²: their difference in 32 bits is right all the same.
    if (((head - Atomics.load(this.#header, TAIL)) | 0) >= capacity) {
      Atomics.add(this.#header, DROPPED, 1);
      return false;
    }
    this.#rows.set(row, (head & (capacity - 1)) * rowLength);
    Atomics.store(this.#header, HEAD, (head + 1) | 0);
    Atomics.notify(this.#header, HEAD);
    return true;
  }

  /**
   * Take the oldest row. For the one consumer.
   *
   * @param out Receives `rowLength` doubles.
   * @returns False when the queue is empty.
   */
  take(out: Float64Array): boolean {
    const { rowLength, capacity } = this.#memory;
    const tail = Atomics.load(this.#header, TAIL);
    if (tail === Atomics.load(this.#header, HEAD)) return false;
    const at = (tail & (capacity - 1)) * rowLength;
    out.set(this.#rows.subarray(at, at + rowLength));
    Atomics.store(this.#header, TAIL, (tail + 1) | 0);
    return true;
  }
}

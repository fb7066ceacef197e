/**
 * The emergency stop as all threads see it: one word in shared memory.
 *
 * The thread that hears of a stop sets it; each bus thread looks at it right before every write and
 * sleeps on it between cycles, so a stop wakes them at once. Only the owner of the state machine clears
 * it. `emergency_stop.ts` keeps who asked and why.
 *
 * @module
 */

import type { StopMode } from "./emergency_stop.ts";

/** What threads share; can be posted to a Worker. */
export type StopLatchMemory = SharedArrayBuffer;

const WORD = 0;
const OPEN = 0;
const MODE_WORDS: Readonly<Record<StopMode, number>> = { "hold": 1, "torque-off": 2 };

/** One end of the latch. */
export class StopLatch {
  /** What another thread needs to open its end. */
  readonly memory: StopLatchMemory;
  readonly #words: Int32Array;

  /**
   * Open an end.
   *
   * @param memory Of another end; a fresh, open latch without it.
   */
  constructor(memory: StopLatchMemory = new SharedArrayBuffer(4)) {
    this.memory = memory;
    this.#words = new Int32Array(memory);
  }

  /** The stop in force; null when there is none. A word that no mode has counts as `hold`. */
  get mode(): StopMode | null {
    const word = Atomics.load(this.#words, WORD);
    if (word === OPEN) return null;
    return word === MODE_WORDS["torque-off"] ? "torque-off" : "hold";
  }

  /** Stop. A `torque-off` is never weakened to a `hold`. Wakes every thread that sleeps on the latch. */
  set(mode: StopMode): void {
    const word = MODE_WORDS[mode];
    if (Atomics.load(this.#words, WORD) < word) Atomics.store(this.#words, WORD, word);
    Atomics.notify(this.#words, WORD);
  }

  /** Open the latch: what the owner of the state machine does on an explicit release, nobody else. */
  clear(): void {
    Atomics.store(this.#words, WORD, OPEN);
    Atomics.notify(this.#words, WORD);
  }

  /**
   * Sleep until the latch changes, at most so long. Blocks its thread: for Workers.
   *
   * @param timeoutMs Longest sleep, in ms; 0 or less returns at once.
   * @param seen What the caller knows the latch to be.
   * @returns Whether the latch is not as the caller saw it.
   */
  sleep(timeoutMs: number, seen: StopMode | null): boolean {
    const word = seen === null ? OPEN : MODE_WORDS[seen];
    if (timeoutMs > 0) Atomics.wait(this.#words, WORD, word, timeoutMs);
    return Atomics.load(this.#words, WORD) !== word;
  }
}

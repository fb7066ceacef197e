/**
 * Short turns of the event loop in the middle of long work on its thread.
 *
 * A thread that infers chunks also hears emergency stops: their sockets, timers and signals must get a
 * turn every few milliseconds, at a price that inference does not feel. `setTimeout(0)` sleeps for 2 ms;
 * one `setImmediate` costs 1 µs, but the runtime looks at sockets and signals at every 61st of them only
 * (the default `event_interval` of tokio's runtime builder, docs.rs/tokio).
 *
 * @module
 */

import { setImmediate } from "node:timers";

/** Immediates of a turn: a few more than the 61 after which the runtime looks at sockets and signals. */
const IMMEDIATES_A_TURN = 64;

/**
 * Work between two turns, in ms: under half a control step, so that a stop is heard within one. On two
 * CPU cores a chunk of 15 ms and the turn behind it took 1 % longer with this, and 4 % with 4 ms.
 */
const WORK_MS = 8;

/**
 * Let timers that are due, sockets that are ready and signals that have come get their turn; about
 * 0.06 ms when there are none. What takes long to arrive, such as a large message, needs many turns:
 * where nothing hurries use `yieldToEventLoop`, which sleeps.
 */
export function turnEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    let left = IMMEDIATES_A_TURN;
    const next = () => {
      if (--left === 0) resolve();
      else setImmediate(next);
    };
    setImmediate(next);
  });
}

/** Turns the event loop often enough in one piece of long work, and hardly more often. */
export class EventLoopPacer {
  readonly #nowMs: () => number;
  #lastTurnMs: number;

  /**
   * Begin the work.
   *
   * @param nowMs A clock that never goes back, in ms.
   */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#lastTurnMs = nowMs();
  }

  /** Turn the event loop if 8 ms of work have passed since the last turn, or since the beginning. */
  async turnIfDue(): Promise<void> {
    if (this.#nowMs() - this.#lastTurnMs < WORK_MS) return;
    await turnEventLoop();
    this.#lastTurnMs = this.#nowMs();
  }
}

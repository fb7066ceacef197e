/**
 * Calls to single servos that wait for their turn between cycles, first come, first served.
 *
 * @module
 */

import type { Failure, ServoCall } from "./messages.ts";

/** A call that has waited so long is carried out even if the next cycle has to wait for it, in ms. */
const LONGEST_WAIT_MS = 50;
/** Calls that may wait. Owners await their calls, so more of them are a mistake. */
const MAX_WAITING = 1_024;
/** Time that an answered call takes before the first was measured, in ms. */
const FIRST_GUESS_MS = 1;
/** How much of an estimate stays after a call that was quicker: it takes about ten calls to forget. */
const DECAY = 0.9;

/** A call and its number. */
export interface WaitingCall {
  /** Number of the call, for its answer. */
  readonly call: number;
  /** What is asked. */
  readonly request: ServoCall;
}

/** What {@link CallQueue} works with. */
export interface CallQueueOptions {
  /** The clock, in ms. */
  readonly now: () => number;
  /** Carries out a call and answers it; says whether the servo answered. @throws When the bus is gone. */
  readonly perform: (call: WaitingCall) => boolean;
  /** Answers a call that is not carried out. */
  readonly reject: (call: number, failure: Failure) => void;
}

/** The calls of one bus. */
export class CallQueue {
  readonly #options: CallQueueOptions;
  #waiting: (WaitingCall & { readonly sinceMs: number })[] = [];
  #expectedMs = FIRST_GUESS_MS;

  /** Empty. @param options What it works with. */
  constructor(options: CallQueueOptions) {
    this.#options = options;
  }

  /** Calls that wait. */
  get size(): number {
    return this.#waiting.length;
  }

  /** Put a call at the end, or reject it if too many wait. @param call The call. */
  push(call: WaitingCall): void {
    if (this.#waiting.length < MAX_WAITING) {
      this.#waiting.push({ ...call, sinceMs: this.#options.now() });
      return;
    }
    const message = `Cannot ${call.request.kind} servo ${call.request.id}: ${MAX_WAITING} calls ` +
      "wait already; await calls before making more";
    this.#options.reject(call.call, { message, fault: "busy" });
  }

  /**
   * Carry out the calls that fit before a deadline, and at most one that has waited too long.
   *
   * A call fits when the slowest of the last answered ones would. One that finds no answer takes longer:
   * that costs a cycle, which is counted.
   *
   * @param untilMs The deadline, in ms of the clock; infinite when there is none.
   * @param most Calls to carry out at most.
   * @returns Calls that were carried out.
   * @throws Whatever `perform` throws; that call is no longer in the queue.
   */
  serve(untilMs: number, most: number = Infinity): number {
    const { now, perform } = this.#options;
    for (let served = 0;; served++) {
      const [first] = this.#waiting;
      if (first === undefined || served >= most) return served;
      const startMs = now();
      const fits = startMs + this.#expectedMs <= untilMs;
      if (!fits && startMs - first.sinceMs < LONGEST_WAIT_MS) return served;
      this.#waiting.shift();
      const hasAnswered = perform(first);
      if (hasAnswered) this.#expectedMs = Math.max(now() - startMs, DECAY * this.#expectedMs);
      if (!fits) return served + 1;
    }
  }

  /** Reject all that wait. @param failure Why. */
  rejectAll(failure: Failure): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { call } of waiting) this.#options.reject(call, failure);
  }
}

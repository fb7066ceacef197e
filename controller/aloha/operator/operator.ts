/**
 * The person who watches the arms: what they say, from whatever source, and who is asked by whom.
 *
 * Keys and HTTP requests call `start`, `success`, `failure`, `stop` and `release`. A world asks for a
 * start or a verdict, and hears only what is said while it asks: a key pressed too early must not move
 * an arm or end the next episode. Stops and releases are always heard, by every listener.
 *
 * @module
 */

import type { Logger } from "../../../common/types.ts";

/** How an episode went, in the operator's eyes. */
export type OperatorVerdict = "success" | "failure";

/** What an operator said. */
export type OperatorEvent =
  | {
    /** Begin the episode, or: this is how it went, or: the emergency stop may be released. */
    readonly kind: "start" | OperatorVerdict | "release";
    /** Where it was said, such as "key press" or "HTTP". */
    readonly source: string;
    /** Whether anybody had asked for it. A release needs no question and counts as asked for. */
    readonly wasAsked: boolean;
  }
  | {
    /** Emergency stop. */
    readonly kind: "stop";
    /** Where it was said. */
    readonly source: string;
    /** Why, in words. */
    readonly reason: string;
  };

/** Called at everything that the operator says, before the call that says it returns. */
export type OperatorListener = (event: OperatorEvent) => void;

/** Waits for the operator's verdict on an episode; dispose of it when the episode is over. */
export interface VerdictQuestion extends Disposable {
  /** The last verdict since the question was asked; null when there is none. */
  readonly answer: OperatorVerdict | null;
}

/** What an {@link Operator} needs. */
export interface OperatorOptions {
  /** Takes what listeners throw. */
  readonly logger: Logger;
}

/** What one operator says, and to whom. */
export class Operator {
  readonly #logger: Logger;
  readonly #listeners = new Set<OperatorListener>();
  readonly #starts = new Set<() => void>();
  readonly #verdicts = new Set<(verdict: OperatorVerdict) => void>();

  /**
   * Nobody has said or asked anything.
   *
   * @param options What it needs.
   */
  constructor(options: OperatorOptions) {
    this.#logger = options.logger;
  }

  /** Whether somebody waits for {@link start}. */
  get isStartAwaited(): boolean {
    return this.#starts.size > 0;
  }

  /** Whether an episode runs that {@link success} or {@link failure} would end. */
  get isVerdictAwaited(): boolean {
    return this.#verdicts.size > 0;
  }

  /**
   * Begin the episode.
   *
   * @param source Who says so, such as "key press".
   * @returns Whether it was awaited; if not, nothing comes of it.
   */
  start(source: string): boolean {
    const waiting = [...this.#starts];
    this.#starts.clear();
    for (const resolve of waiting) resolve();
    const wasAsked = waiting.length > 0;
    this.#tell({ kind: "start", source, wasAsked });
    return wasAsked;
  }

  /**
   * The episode has reached its goal: it ends with its next control step.
   *
   * @param source Who says so.
   * @returns Whether it was awaited; if not, nothing comes of it.
   */
  success(source: string): boolean {
    return this.#judge("success", source);
  }

  /**
   * The episode has failed: it ends with its next control step.
   *
   * @param source Who says so.
   * @returns Whether it was awaited; if not, nothing comes of it.
   */
  failure(source: string): boolean {
    return this.#judge("failure", source);
  }

  /**
   * Emergency stop. Every listener has been called when this returns.
   *
   * @param reason Why, in words.
   * @param source Who asks.
   */
  stop(reason: string, source: string): void {
    this.#tell({ kind: "stop", source, reason });
  }

  /**
   * The emergency stop may be released.
   *
   * @param source Who says so.
   */
  release(source: string): void {
    this.#tell({ kind: "release", source, wasAsked: true });
  }

  /**
   * Hear everything from now on.
   *
   * @param listener Must be quick: the others wait for it. What it throws is logged.
   * @returns Ends it.
   */
  onEvent(listener: OperatorListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * Ask for a start and wait for it. What was said before does not count.
   *
   * @param signal Ends the waiting.
   * @throws {unknown} The signal's reason, when it is aborted.
   */
  async waitForStart(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#starts.add(resolve);
    try {
      await promise;
    } finally {
      this.#starts.delete(resolve);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Ask for a verdict. What was said before does not count; of several the last one does. */
  askVerdict(): VerdictQuestion {
    let answer: OperatorVerdict | null = null;
    const hear = (verdict: OperatorVerdict) => void (answer = verdict);
    this.#verdicts.add(hear);
    return {
      get answer() {
        return answer;
      },
      [Symbol.dispose]: () => void this.#verdicts.delete(hear),
    };
  }

  #judge(verdict: OperatorVerdict, source: string): boolean {
    for (const hear of this.#verdicts) hear(verdict);
    const wasAsked = this.isVerdictAwaited;
    this.#tell({ kind: verdict, source, wasAsked });
    return wasAsked;
  }

  #tell(event: OperatorEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        // One listener that fails must not keep the others from stopping their arm.
        this.#logger.error(`A listener to the operator's ${event.kind} failed: ${error}`);
      }
    }
  }
}

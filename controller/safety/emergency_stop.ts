/**
 * The emergency stop: a latch that anybody can set and only an explicit release opens, and the watch
 * over an operator's heartbeat that sets it. Nothing here throws: a stop must not fail on its way.
 *
 * @module
 */

import type { Logger } from "../../common/types.ts";

/** What an emergency stop does to the arms: keep the pose, or let the servos go limp. */
export const STOP_MODES = ["hold", "torque-off"] as const;

/** One of {@link STOP_MODES}. */
export type StopMode = (typeof STOP_MODES)[number];

/** An emergency stop that is in force. */
export interface StopRecord {
  /** Who asked for it first, such as "HTTP", "key press", "SIGINT" or "operator heartbeat". */
  readonly source: string;
  /** Why, in words. */
  readonly reason: string;
  /** When, in milliseconds of the injected clock. */
  readonly atMs: number;
  /** What it does to the arms. */
  readonly mode: StopMode;
  /** How often a stop has been asked for since then, this one included. */
  readonly requests: number;
}

/** Called at every request to stop, before `trigger` returns. */
export type StopListener = (record: StopRecord) => void;

/** What {@link EmergencyStop} works with. */
export interface EmergencyStopOptions {
  /** What a stop does to the arms. */
  readonly mode: StopMode;
  /** The clock, in milliseconds. */
  readonly now: () => number;
  /** Takes what listeners throw. */
  readonly logger: Logger;
}

/** The latch. */
export class EmergencyStop {
  readonly #options: EmergencyStopOptions;
  readonly #listeners = new Set<StopListener>();
  #record: StopRecord | null = null;
  #isTelling = false;

  /**
   * A latch that is open.
   *
   * @param options Mode, clock and logger.
   */
  constructor(options: EmergencyStopOptions) {
    this.#options = options;
  }

  /** The stop in force; null when there is none. */
  get record(): StopRecord | null {
    return this.#record;
  }

  /** Whether a stop is in force: nothing may move. */
  get isActive(): boolean {
    return this.#record !== null;
  }

  /**
   * Stop now. Every listener has been called when this returns, at a repeated request too: who presses
   * twice has reason to. The record keeps the first source and reason.
   *
   * @param source Who asks.
   * @param reason Why.
   */
  trigger(source: string, reason: string): void {
    const { mode } = this.#options;
    this.#record = this.#record === null
      ? { source, reason, atMs: this.#nowMs(), mode, requests: 1 }
      : { ...this.#record, requests: this.#record.requests + 1 };
    // A listener that asks to stop is heard, not told again: that would never end.
    if (this.#isTelling) return;
    this.#isTelling = true;
    for (const listener of [...this.#listeners]) this.#tell(listener);
    this.#isTelling = false;
  }

  /**
   * Open the latch. Motion does not begin by that: the state machine wants homing first.
   *
   * @param by Who releases it, for the log.
   * @returns Whether a stop was in force.
   */
  release(by: string): boolean {
    if (this.#record === null) return false;
    const { source } = this.#record;
    this.#record = null;
    this.#log("info", `Emergency stop by ${source} was released by ${by}`);
    return true;
  }

  /**
   * Be told of stops; at once if one is in force.
   *
   * @param listener Must be quick: the others wait for it.
   * @returns Ends it.
   */
  onStop(listener: StopListener): () => void {
    this.#listeners.add(listener);
    if (this.#record !== null) this.#tell(listener);
    return () => void this.#listeners.delete(listener);
  }

  #tell(listener: StopListener): void {
    try {
      listener(this.#record as StopRecord);
    } catch (error) {
      this.#log("error", `A listener of the emergency stop failed: ${words(error)}`);
    }
  }

  #nowMs(): number {
    try {
      return this.#options.now();
    } catch (error) {
      this.#log("error", `The clock of the emergency stop failed: ${words(error)}`);
      return NaN;
    }
  }

  #log(level: "info" | "error", message: string): void {
    try {
      this.#options.logger[level](message);
    } catch {
      // A logger that throws must not keep the other listeners from stopping their arm.
    }
  }
}

/** Text of anything thrown; even that may throw. */
function words(error: unknown): string {
  try {
    return String(error);
  } catch {
    return "an error without words";
  }
}

/** What {@link HeartbeatWatch} works with. */
export interface HeartbeatOptions {
  /** Longest silence of the operator, in milliseconds, above 0. */
  readonly timeoutMs: number;
  /** The clock, in milliseconds; it must not run backwards. */
  readonly now: () => number;
  /** Set when the operator is silent. */
  readonly stop: EmergencyStop;
}

/**
 * Watches an operator's heartbeat. It runs from its creation: an operator who never beats is lost, too.
 * Release a stop after the heart beats again, or the next poll sets it once more.
 */
export class HeartbeatWatch {
  readonly #options: HeartbeatOptions;
  #lastMs: number;
  #isLost = false;

  /**
   * Begin to watch.
   *
   * @param options Timeout, clock and latch.
   * @throws {RangeError} The timeout is not a number above 0.
   */
  constructor(options: HeartbeatOptions) {
    const { timeoutMs } = options;
    if (!(timeoutMs > 0 && timeoutMs < Infinity)) {
      throw new RangeError(
        `Cannot watch a heartbeat with a timeout of ${timeoutMs} ms: it must be above 0`,
      );
    }
    this.#options = options;
    this.#lastMs = options.now();
  }

  /** Whether the operator is silent, as of the last poll or beat. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** The operator is there. */
  beat(): void {
    this.#lastMs = this.#readClock();
    this.#isLost = false;
  }

  /**
   * Look whether the operator is still there; call it in every control cycle.
   *
   * @returns Whether the operator is there. If not, the latch is set.
   */
  poll(): boolean {
    const { timeoutMs, stop } = this.#options;
    const silentMs = this.#readClock() - this.#lastMs;
    // A clock that says NaN, or runs backwards, knows nothing of the operator.
    this.#isLost = !(silentMs >= 0 && silentMs <= timeoutMs);
    if (this.#isLost && !stop.isActive) {
      stop.trigger(
        "operator heartbeat",
        `no heartbeat for ${silentMs} ms, at most ${timeoutMs} ms are allowed`,
      );
    }
    return !this.#isLost;
  }

  #readClock(): number {
    try {
      return this.#options.now();
    } catch {
      // NaN is lost at the next comparison.
      return NaN;
    }
  }
}

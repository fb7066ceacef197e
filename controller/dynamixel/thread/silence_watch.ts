/**
 * Which servos have fallen silent, and when those are asked again. Pure: the clock is the caller's.
 *
 * A silent servo costs each reading the whole wait for its answer, so it is asked now and then only: the
 * others keep their rate.
 *
 * @module
 */

/** A servo that has not answered for so long is silent, in ms. */
const SILENT_AFTER_MS = 100;
/** And not in so many readings, so that one lost answer to a rare question is not called silence. */
const SILENT_AFTER_MISSES = 3;
/** How often a silent servo is asked again, in ms. */
const ASK_AGAIN_MS = 100;

interface Hearing {
  heardMs: number;
  askedMs: number;
  misses: number;
  isSilent: boolean;
}

/** Servos whose silence has changed. */
export interface SilenceChange {
  /** Silent since now. */
  readonly silent: readonly number[];
  /** Heard again. */
  readonly heard: readonly number[];
}

/** The servos of one bus. */
export class SilenceWatch {
  readonly #servos: Map<number, Hearing>;
  #silent: number[] = [];
  #heard: number[] = [];

  /** Nobody is silent. @param ids The servos. @param nowMs The time. */
  constructor(ids: readonly number[], nowMs: number) {
    this.#servos = new Map(
      ids.map((id) => [id, { heardMs: nowMs, askedMs: -Infinity, misses: 0, isSilent: false }]),
    );
  }

  /** Whether it is time to ask a servo: always while it is not silent. */
  isToBeAsked(id: number, nowMs: number): boolean {
    const servo = this.#servos.get(id);
    return servo === undefined || !servo.isSilent || nowMs - servo.askedMs >= ASK_AGAIN_MS;
  }

  /**
   * A servo has been asked.
   *
   * @param id Its ID.
   * @param hasAnswered Whether it answered.
   * @param nowMs The time.
   */
  report(id: number, hasAnswered: boolean, nowMs: number): void {
    const servo = this.#servos.get(id);
    if (servo === undefined) return;
    servo.askedMs = nowMs;
    if (hasAnswered) {
      servo.heardMs = nowMs;
      servo.misses = 0;
      if (servo.isSilent) this.#heard.push(id);
      servo.isSilent = false;
      return;
    }
    servo.misses++;
    if (
      !servo.isSilent && servo.misses >= SILENT_AFTER_MISSES &&
      nowMs - servo.heardMs >= SILENT_AFTER_MS
    ) {
      servo.isSilent = true;
      this.#silent.push(id);
    }
  }

  /** What has changed since this was last asked. */
  takeChanges(): SilenceChange {
    const change = { silent: this.#silent, heard: this.#heard };
    if (change.silent.length > 0) this.#silent = [];
    if (change.heard.length > 0) this.#heard = [];
    return change;
  }

  /** Nobody was asked for a while: the wait begins anew, and who was silent is still. */
  resume(nowMs: number): void {
    for (const servo of this.#servos.values()) {
      servo.heardMs = nowMs;
      servo.misses = 0;
    }
  }
}

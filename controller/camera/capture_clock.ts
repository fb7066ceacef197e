/**
 * Tells when a picture was captured from when it arrived.
 *
 * A picture normally arrives right after its capture. But when ffmpeg, or the thread that reads it,
 * gets no processor for a while, pictures wait in the driver's and the pipe's queues and then come in
 * a burst: the first ones are as old as the pause was long, and stamped on arrival they would look
 * fresh. Every queue keeps their order, so the first after a pause was captured a period after the
 * last one before it, and those of the burst a period after each other. Where the driver dropped some
 * meanwhile, they are stamped older than they are, which is the safe side.
 *
 * @module
 */

/** Periods without a picture that are a pause: a camera may halve its rate in the dark. */
const PAUSE_PERIODS = 3;
/** Periods between two arrivals below which the second picture had been waiting. */
const BURST_PERIODS = 0.5;

/** Stamps the pictures of one stream. */
export class CaptureClock {
  readonly #periodMs: number;
  #arrivalMs = NaN;
  #stampMs = NaN;
  #isCatchingUp = false;

  /**
   * Stamp a stream from its start.
   * @param rateHz Pictures a second asked of the camera.
   */
  constructor(rateHz: number) {
    this.#periodMs = 1_000 / rateHz;
  }

  /**
   * Stamp the next picture.
   *
   * @param arrivalMs When its first bytes arrived, in ms; not before the last one's.
   * @returns When it was captured as far as can be told, in ms: never after its arrival, never before
   *   the last one.
   */
  stamp(arrivalMs: number): number {
    const gapMs = arrivalMs - this.#arrivalMs; // NaN for the first, which is none of the cases below
    if (gapMs > PAUSE_PERIODS * this.#periodMs) {
      this.#isCatchingUp = true;
      this.#stampMs = this.#arrivalMs + this.#periodMs;
    } else if (this.#isCatchingUp && gapMs < BURST_PERIODS * this.#periodMs) {
      this.#stampMs = Math.min(arrivalMs, this.#stampMs + this.#periodMs);
    } else {
      this.#isCatchingUp = false;
      this.#stampMs = arrivalMs;
    }
    this.#arrivalMs = arrivalMs;
    return this.#stampMs;
  }
}

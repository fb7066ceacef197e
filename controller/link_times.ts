/**
 * How long the control loop is held up by its way to the learner.
 *
 * @module
 */

import type { ChunkSink } from "./control_loop.ts";

/** Milliseconds since the start. */
export interface LinkTimes {
  /** Waiting for a learner that has more chunks than it can use. */
  waitMs: number;
  /** Writing newer weights into the policy. */
  weightsMs: number;
  /** Handing chunks on: encoding and the socket come later, between other work. */
  sendMs: number;
}

/** A way to the learner that looks at the clock. */
export class TimedSink implements ChunkSink {
  /** Where the time went. */
  readonly times: LinkTimes = { waitMs: 0, weightsMs: 0, sendMs: 0 };
  readonly #sink: ChunkSink;

  /**
   * Nothing is measured yet.
   * @param sink The way itself.
   */
  constructor(sink: ChunkSink) {
    this.#sink = sink;
  }

  /** See {@link ChunkSink.takeLatestWeights}. */
  takeLatestWeights(): ReturnType<ChunkSink["takeLatestWeights"]> {
    return this.#sink.takeLatestWeights();
  }

  /** See {@link ChunkSink.hasCapacity}. */
  hasCapacity(): boolean {
    return this.#sink.hasCapacity();
  }

  /** See {@link ChunkSink.send}. */
  send(...chunk: Parameters<ChunkSink["send"]>): void {
    this.timed("sendMs", () => this.#sink.send(...chunk));
  }

  /** See {@link ChunkSink.until}. */
  async until(claim: () => boolean, timeoutMs: number): Promise<boolean> {
    const start = performance.now();
    const holds = await this.#sink.until(claim, timeoutMs);
    this.times.waitMs += performance.now() - start;
    return holds;
  }

  /** Do something that belongs to the link. */
  timed(part: keyof LinkTimes, work: () => void): void {
    const start = performance.now();
    work();
    this.times[part] += performance.now() - start;
  }
}

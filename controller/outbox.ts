/**
 * Experience that the learner has not acknowledged yet, in the order it was made.
 *
 * A chunk is waiting (not sent over the present connection) or in flight (sent, no answer yet). A
 * broken connection makes every chunk waiting again. The box is bounded: with the learner away for
 * long, the oldest chunks are dropped, for they are the stalest.
 *
 * @module
 */
import type { ChunkTransition } from "../common/types.ts";

interface Entry {
  readonly transition: ChunkTransition;
  readonly bytes: number;
  isInFlight: boolean;
  wasSent: boolean;
}

/** Chunks to send together. */
export interface Batch {
  /** Oldest first; empty if nothing waits. */
  readonly transitions: readonly ChunkTransition[];
  /** How many of them were sent before, over an earlier connection. */
  readonly resent: number;
}

/** A bounded queue with acknowledgements. */
export class Outbox {
  readonly #capacity: number;
  // A Map keeps insertion order.
  readonly #entries = new Map<string, Entry>();
  #inFlight = 0;
  #dropped = 0;

  /**
   * An empty box.
   * @param capacity Chunks held at most, at least 1.
   * @throws {RangeError} If the capacity is not a positive integer.
   */
  constructor(capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`Cannot hold ${capacity} chunks: it must be a positive integer`);
    }
    this.#capacity = capacity;
  }

  /** Chunks held, waiting or in flight. */
  get size(): number {
    return this.#entries.size;
  }

  /** Chunks sent and not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Chunks forgotten without an answer since the start, because the box was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Add a chunk at the end; with a full box the oldest one is dropped.
   * @param transition The chunk.
   * @param bytes What it adds to a frame.
   * @throws {RangeError} If a chunk with its id is held already.
   */
  push(transition: ChunkTransition, bytes: number): void {
    const { chunkId } = transition;
    if (this.#entries.has(chunkId)) {
      throw new RangeError(
        `Cannot queue chunk ${JSON.stringify(chunkId)}: its id is queued already`,
      );
    }
    if (this.#entries.size >= this.#capacity) {
      const [oldest] = this.#entries.keys();
      this.#forget(oldest);
      this.#dropped++;
    }
    this.#entries.set(chunkId, { transition, bytes, isInFlight: false, wasSent: false });
  }

  /**
   * Take the oldest waiting chunks and mark them in flight.
   * @param maxChunks Chunks at most.
   * @param maxBytes Bytes at most; one chunk is taken however large.
   */
  takeBatch(maxChunks: number, maxBytes: number): Batch {
    const transitions: ChunkTransition[] = [];
    let bytes = 0;
    let resent = 0;
    for (const entry of this.#entries.values()) {
      if (transitions.length >= maxChunks) break;
      if (entry.isInFlight) continue;
      bytes += entry.bytes;
      if (transitions.length > 0 && bytes > maxBytes) break;
      if (entry.wasSent) resent++;
      entry.isInFlight = true;
      entry.wasSent = true;
      this.#inFlight++;
      transitions.push(entry.transition);
    }
    return { transitions, resent };
  }

  /**
   * Forget chunks that the learner has answered.
   * @param chunkIds Their ids; unknown ones are ignored.
   * @returns How many were held.
   */
  acknowledge(chunkIds: readonly string[]): number {
    return chunkIds.filter((chunkId) => this.#forget(chunkId)).length;
  }

  /** The connection broke: whatever was in flight waits again, in its old order. */
  rewind(): void {
    for (const entry of this.#entries.values()) entry.isInFlight = false;
    this.#inFlight = 0;
  }

  #forget(chunkId: string): boolean {
    const entry = this.#entries.get(chunkId);
    if (entry === undefined) return false;
    if (entry.isInFlight) this.#inFlight--;
    return this.#entries.delete(chunkId);
  }
}

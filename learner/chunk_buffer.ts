/**
 * Chunks on their way from the network to an update, kept by episode.
 *
 * A chunk can be trained on once it is known what came after it: the end of the episode, or the next
 * chunk, whose value the controller's critic has told. So the last chunk of an episode that goes on
 * waits here.
 *
 * @module
 */

import { endsEpisode } from "../common/chunk_end.ts";
import type { ChunkTransition } from "../common/types.ts";

/** Consecutive chunks of one episode, ready to be trained on. */
export interface Segment {
  /** At least one, in order. */
  readonly chunks: readonly ChunkTransition[];
  /** Value of the observation after the last one, if the episode goes on. */
  readonly nextValue?: number;
}

/** What the buffer has left out. */
export interface BufferDrops {
  /** Chunks whose weights were too old. */
  readonly stale: number;
  /** Chunks before a gap in their episode. */
  readonly orphaned: number;
}

/** Chunks by episode. */
export class ChunkBuffer {
  /** Called whenever the number of ready chunks has changed. */
  onReady: (ready: number) => void = () => {};
  readonly #episodes = new Map<string, ChunkTransition[]>();
  readonly #drops = { stale: 0, orphaned: 0 };
  readonly #onWait: () => void;
  #ready = 0;
  #arrived: (() => void) | undefined;

  /**
   * Nothing waits yet.
   * @param onWait Called whenever {@link ChunkBuffer.take} has to wait for more chunks: whoever was
   *   asked to hold chunks back must send again.
   */
  constructor(onWait: () => void = () => {}) {
    this.#onWait = onWait;
  }

  /** Chunks that can be trained on now. */
  get ready(): number {
    return this.#ready;
  }

  /** All that waits, ready or not, in the order in which {@link ChunkBuffer.add} restores it. */
  chunks(): ChunkTransition[] {
    return [...this.#episodes.values()].flat();
  }

  /** What was left out so far. */
  get drops(): BufferDrops {
    return { ...this.#drops };
  }

  /**
   * Take a chunk in. Chunks of an episode come in order; after a gap (the controller had to drop
   * some) what waits from before it is left out.
   */
  add(chunk: ChunkTransition): void {
    let chunks = this.#episodes.get(chunk.episodeId) ?? [];
    const last = chunks.at(-1);
    if (last && chunk.chunkIndex !== last.chunkIndex + 1) {
      this.#dropOrphan(chunks);
      chunks = [];
    }
    this.#ready -= readyIn(chunks);
    chunks.push(chunk);
    this.#ready += readyIn(chunks);
    this.#episodes.set(chunk.episodeId, chunks);
    this.onReady(this.#ready);
    this.#arrived?.();
  }

  /** Forget what lies before a gap, counted. Gaps only come of a long outage, when data is old. */
  #dropOrphan(chunks: readonly ChunkTransition[]): void {
    this.#ready -= readyIn(chunks);
    this.#drops.orphaned += chunks.length;
  }

  /**
   * Wait until enough chunks can be trained on, then take as many, longest-waiting episodes first.
   * @param count Chunks wanted.
   * @param oldestVersion Chunks sampled by older weights are left out, counted.
   * @param signal Ends the wait by throwing its reason.
   */
  async take(count: number, oldestVersion: number, signal: AbortSignal): Promise<Segment[]> {
    for (;;) {
      signal.throwIfAborted();
      this.#dropStale(oldestVersion);
      if (this.#ready >= count) return this.#takeReady(count);
      this.#onWait();
      await this.#nextArrival(signal);
    }
  }

  #takeReady(wanted: number): Segment[] {
    const segments: Segment[] = [];
    let left = wanted;
    for (const [id, chunks] of this.#episodes) {
      const count = Math.min(left, readyIn(chunks));
      if (count === 0) continue;
      const next = chunks.at(count);
      segments.push({
        chunks: chunks.slice(0, count),
        nextValue: next?.value,
      });
      left -= count;
      const rest = chunks.slice(count);
      if (rest.length === 0) this.#episodes.delete(id);
      else this.#episodes.set(id, rest);
      if (left === 0) break;
    }
    this.#ready -= wanted - left;
    this.onReady(this.#ready);
    return segments;
  }

  /** An episode's chunks lose their stale head, so that what remains is consecutive. */
  #dropStale(oldestVersion: number): void {
    for (const [id, chunks] of this.#episodes) {
      const kept = chunks.findIndex((c) => c.policyVersion >= oldestVersion);
      if (kept === 0) continue;
      const rest = kept < 0 ? [] : chunks.slice(kept);
      this.#drops.stale += chunks.length - rest.length;
      this.#ready += readyIn(rest) - readyIn(chunks);
      if (rest.length === 0) this.#episodes.delete(id);
      else this.#episodes.set(id, rest);
    }
  }

  async #nextArrival(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => reject(signal.reason);
    this.#arrived = resolve;
    signal.addEventListener("abort", abort, { once: true });
    try {
      await promise;
    } finally {
      this.#arrived = undefined;
      signal.removeEventListener("abort", abort);
    }
  }
}

/** How many of an episode's chunks have a known successor. */
function readyIn(chunks: readonly ChunkTransition[]): number {
  const last = chunks.at(-1);
  if (!last) return 0;
  return endsEpisode(last) ? chunks.length : chunks.length - 1;
}

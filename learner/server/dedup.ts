/**
 * Drops chunks that came before. A controller sends again whatever was not acknowledged when its
 * connection broke, so a second copy is normal; training on it twice would bias the gradient.
 *
 * @module
 */
import type { ChunkTransition } from "../../common/types.ts";

/** Ids remembered by default: hours of experience, about 10 MB. */
export const DEFAULT_REMEMBERED_CHUNKS = 100_000;

/** Remembers the chunk ids accepted last. */
export class ChunkDedup {
  readonly #capacity: number;
  // A Set keeps insertion order, so its first value is the one seen longest ago.
  readonly #ids = new Set<string>();

  /**
   * A memory with room for so many ids; the oldest is forgotten first.
   * @param capacity Ids remembered, at least 1.
   * @param ids Accepted before, oldest first, such as those of a resumed run.
   * @throws {RangeError} If the capacity is not a positive integer.
   */
  constructor(capacity: number = DEFAULT_REMEMBERED_CHUNKS, ids: Iterable<string> = []) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`Cannot remember ${capacity} chunks: it must be a positive integer`);
    }
    this.#capacity = capacity;
    for (const id of ids) this.remember(id);
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#ids.size;
  }

  /** The ids remembered, oldest first. */
  ids(): string[] {
    return [...this.#ids];
  }

  /**
   * Whether an id was accepted before.
   * @param chunkId The id.
   */
  has(chunkId: string): boolean {
    return this.#ids.has(chunkId);
  }

  /**
   * Note an id as accepted, or as seen again just now.
   * @param chunkId The id.
   */
  remember(chunkId: string): void {
    this.#ids.delete(chunkId);
    this.#ids.add(chunkId);
    if (this.#ids.size > this.#capacity) {
      const [oldest] = this.#ids;
      this.#ids.delete(oldest);
    }
  }
}

/** What became of a controller's transitions. */
export interface IntakeResult {
  /** Taken now. */
  readonly acceptedIds: readonly string[];
  /** Taken before; the copy was dropped. */
  readonly duplicateIds: readonly string[];
}

/** Takes a controller's transitions; a throw means that none of them is acknowledged. */
export type Intake = (
  controllerId: string,
  transitions: readonly ChunkTransition[],
) => IntakeResult;

/**
 * Make the intake of a learner.
 * @param dedup What was accepted before.
 * @param accept Takes a new transition; an id counts as accepted once this has returned.
 * @returns The intake.
 */
export function createIntake(
  dedup: ChunkDedup,
  accept: (transition: ChunkTransition, controllerId: string) => void,
): Intake {
  return (controllerId, transitions) => {
    const acceptedIds: string[] = [];
    const duplicateIds: string[] = [];
    for (const transition of transitions) {
      const { chunkId } = transition;
      if (dedup.has(chunkId)) {
        duplicateIds.push(chunkId);
      } else {
        accept(transition, controllerId);
        acceptedIds.push(chunkId);
      }
      dedup.remember(chunkId);
    }
    return { acceptedIds, duplicateIds };
  };
}

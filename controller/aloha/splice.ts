/**
 * Joins a chunk that was inferred while the arms moved to the one that they are executing.
 *
 * The new chunk was planned from an observation that is some control steps old, so its step `i` belongs
 * to the time `i` steps after that observation: the steps for times that have passed are left out, not
 * executed late. Where both chunks have a target for the same time, the new one fades in, so that the
 * command does not jump from one plan to the other. (The same alignment in time as in real-time
 * chunking, Black et al. 2025, with a linear fade in place of its guided inpainting.)
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";

/** Two chunks to be joined. H is the horizon, r what remains. */
export interface SpliceParts {
  /** Targets of the old chunk that are still to be executed `[r, 14]`, r ≥ 0. */
  readonly remaining: Float32Array;
  /** Targets of the new chunk `[H, 14]`. */
  readonly next: Float32Array;
  /** Control steps between the new chunk's observation and the first step to be executed, 0 or more. */
  readonly elapsed: number;
}

/** A plan of both. */
export interface Splice {
  /** Targets `[n, 14]`. */
  readonly targets: Float32Array;
  /** Index in the plan from which on the steps count as the new chunk's; before it, as the old one's. */
  readonly boundary: number;
  /** Index in the new chunk of the plan's step `boundary`. */
  readonly skipped: number;
}

/**
 * Join two chunks.
 *
 * @param parts Both chunks and how far the time has moved on.
 * @returns The plan. Of the new chunk at least the last step is always executed.
 */
export function splice({ remaining, next, elapsed }: SpliceParts): Splice {
  const horizon = next.length / ALOHA_DIM, left = remaining.length / ALOHA_DIM;
  const skipped = Math.min(elapsed + left, horizon - 1);
  const targets = new Float32Array((left + horizon - skipped) * ALOHA_DIM);
  for (let step = 0; step < left; step++) {
    const weight = (step + 1) / (left + 1);
    const old = step * ALOHA_DIM, fresh = Math.min(elapsed + step, horizon - 1) * ALOHA_DIM;
    for (let i = 0; i < ALOHA_DIM; i++) {
      targets[old + i] = (1 - weight) * remaining[old + i] + weight * next[fresh + i];
    }
  }
  targets.set(next.subarray(skipped * ALOHA_DIM), left * ALOHA_DIM);
  return { targets, boundary: left, skipped };
}

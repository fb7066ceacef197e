/**
 * Joins a chunk that was inferred while the arms moved to the one that they are executing.
 *
 * The new chunk was planned from an observation that is some control steps old, so its step `i` belongs
 * to the time `i` steps after that observation: the steps for times that have passed are left out, not
 * executed late. (The same alignment in time as in real-time chunking, Black et al. 2025.)
 *
 * The two chunks disagree, by a little about the past and by more about the future. The difference at
 * the seam fades out over the next steps, so that the command goes on from where it is, without a jump.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";

/** Two chunks to be joined. H is the horizon, r what remains. */
export interface SpliceParts {
  /** The old chunk's target right before the first step to be executed `[14]`. */
  readonly last: Float32Array;
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

/** Least number of steps over which the difference of two chunks fades out. */
export const FADE_STEPS = 4;

/**
 * Join two chunks.
 *
 * @param parts Both chunks and how far the time has moved on.
 * @returns The plan. Of the new chunk at least the last step is always executed.
 */
export function splice({ last, remaining, next, elapsed }: SpliceParts): Splice {
  const horizon = next.length / ALOHA_DIM, left = remaining.length / ALOHA_DIM;
  const skipped = Math.min(elapsed + left, horizon - 1);
  const steps = left + horizon - skipped;
  const fade = Math.max(left, FADE_STEPS);
  const targets = new Float32Array(steps * ALOHA_DIM);
  /** Where the new chunk is at a step of the plan; −1 is the step before it. */
  const fresh = (step: number, i: number) =>
    next[Math.max(0, Math.min(elapsed + step, horizon - 1)) * ALOHA_DIM + i];
  for (let i = 0; i < ALOHA_DIM; i++) {
    let difference = last[i] - fresh(-1, i);
    for (let step = 0; step < steps; step++) {
      const at = step * ALOHA_DIM + i;
      // The old chunk's word on the difference, as long as it has one.
      if (step < left) difference = remaining[at] - fresh(step, i);
      targets[at] = fresh(step, i) + (1 - smoothStep((step + 1) / (fade + 1))) * difference;
    }
  }
  return { targets, boundary: left, skipped };
}

/** From 0 to 1 with no speed at either end; 1 beyond. */
function smoothStep(share: number): number {
  const s = Math.min(1, share);
  return s * s * (3 - 2 * s);
}

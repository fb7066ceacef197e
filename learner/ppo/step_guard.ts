/**
 * What to do about a gradient step whose loss or gradient is not finite.
 *
 * One bad batch is skipped. Several in a row mean that the weights themselves are broken, or about to
 * be: then the last good ones come back.
 *
 * @module
 */

/** Bad steps in a row after which the weights are rolled back. */
export const MAX_BAD_STEPS = 3;

/** What the guard remembers; plain numbers, to write to a checkpoint. */
export interface GuardState {
  /** Bad steps since the last good one. */
  readonly inARow: number;
  /** Bad steps of the run. */
  readonly skipped: number;
  /** Rollbacks of the run. */
  readonly rollbacks: number;
}

/** A run's beginning. */
export const FRESH_GUARD: GuardState = { inARow: 0, skipped: 0, rollbacks: 0 };

/** Take the step; leave it out; leave it out and restore the last good weights and optimiser. */
export type GuardAction = "apply" | "skip" | "rollback";

/**
 * Judge a step before it is taken. A pure function.
 * @param state What came before.
 * @param numbers Loss and gradient norm, and whatever else must be finite.
 * @param maxInARow Bad steps in a row that lead to a rollback; at least 1.
 * @returns What to do, and the state from then on. After a rollback the count begins anew.
 */
export function guardStep(
  state: GuardState,
  numbers: readonly number[],
  maxInARow: number = MAX_BAD_STEPS,
): { readonly action: GuardAction; readonly state: GuardState } {
  if (numbers.every(Number.isFinite)) return { action: "apply", state: { ...state, inARow: 0 } };
  const skipped = state.skipped + 1;
  const inARow = state.inARow + 1;
  if (inARow < maxInARow) return { action: "skip", state: { ...state, inARow, skipped } };
  return { action: "rollback", state: { inARow: 0, skipped, rollbacks: state.rollbacks + 1 } };
}

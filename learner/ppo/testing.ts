/**
 * The fixture that `scripts/goldens/ppo_goldens.py` wrote with RLax and JAX.
 *
 * @module
 */

import type { LossOptions } from "./loss.ts";

/** Names of a batch's columns. */
export type BatchColumn =
  | "logProb"
  | "entropy"
  | "value"
  | "oldLogProb"
  | "oldValue"
  | "advantage"
  | "valueTarget";

/** Consecutive chunks of one episode, with their advantages. */
export interface GaeCase {
  /** Discount a chunk. */
  readonly gamma: number;
  /** λ a chunk. */
  readonly lambda: number;
  /** What comes after the last chunk. */
  readonly end: "terminal" | "truncated" | "going_on";
  /** Value of what comes after it. */
  readonly after: number;
  /** `[T]`. */
  readonly rewards: readonly number[];
  /** `[T]`. */
  readonly values: readonly number[];
  /** `[T]`, by RLax. */
  readonly advantages: readonly number[];
}

/** A batch with its losses. */
export interface LossCase {
  /** Weights and ranges. */
  readonly options: LossOptions;
  /** `[B]` each. */
  readonly batch: Readonly<Record<BatchColumn, readonly number[]>>;
  /** Scalars by name. */
  readonly losses: Readonly<
    Record<"total" | "policy" | "value" | "entropy" | "approxKl" | "clipFraction", number>
  >;
  /** The total's gradients, `[B]` each, by JAX. */
  readonly gradients: Readonly<Record<"logProb" | "value" | "entropy", readonly number[]>>;
}

/** Read the fixture. */
export function readPpoGolden(): { readonly gae: GaeCase[]; readonly losses: LossCase[] } {
  const url = new URL("../../tests/fixtures/ppo/golden.json", import.meta.url);
  return JSON.parse(Deno.readTextFileSync(url));
}

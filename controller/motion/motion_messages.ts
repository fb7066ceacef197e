/**
 * What the main thread and the motion thread say to each other besides what they share.
 *
 * @module
 */

import type { MotionSetup } from "./motion_cycle.ts";

/** To the thread, once: it listens to nothing any more while it runs. */
export interface MotionRequest {
  /** What it works on. */
  readonly setup: MotionSetup;
  /** One word of int32: 0 to go on, 1 to end. The thread sleeps on it between cycles. */
  readonly end: SharedArrayBuffer;
}

/** From the thread, at its end. */
export type MotionReply =
  /** It was told to end. */
  | { readonly kind: "ended" }
  /** It has ended by itself. */
  | { readonly kind: "failed"; readonly sentence: string };

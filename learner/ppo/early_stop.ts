/**
 * Ends an update once the policy has moved far enough from the one that it began with.
 *
 * Clipping bounds each sample's push, not the policy's way: several epochs can still carry it off.
 *
 * @module
 */

/** A single minibatch's estimate is noisy; Stable-Baselines3 and Spinning Up allow it this much. */
const BATCH_SLACK = 1.5;

/** What {@link trackKl} has seen of an epoch. */
export interface EpochKl {
  /** Sum of the minibatches' KL. */
  readonly sum: number;
  /** Minibatches. */
  readonly batches: number;
}

/** Nothing seen yet. */
export const EMPTY_EPOCH: EpochKl = { sum: 0, batches: 0 };

/** Add a minibatch; one whose KL is not finite was skipped and does not count. */
export function trackKl(epoch: EpochKl, approxKl: number): EpochKl {
  if (!Number.isFinite(approxKl)) return epoch;
  return { sum: epoch.sum + approxKl, batches: epoch.batches + 1 };
}

/**
 * Whether to stop: after an epoch whose mean KL is above the target (`"epoch"`), or as soon as one
 * minibatch's is above 1.5 times the target, before its step (`"batch"`, as in Stable-Baselines3).
 * @param epoch What the epoch has come to.
 * @param options.targetKl Nats a ratio; 0 is off.
 * @param options.lastKl KL of the newest minibatch; needed for `"batch"`.
 */
export function shouldStopEarly(
  epoch: EpochKl,
  options: {
    readonly targetKl: number;
    readonly check?: "epoch" | "batch";
    readonly lastKl?: number;
  },
): boolean {
  const { targetKl, check = "epoch", lastKl = 0 } = options;
  if (targetKl <= 0) return false;
  if (check === "batch") return lastKl > BATCH_SLACK * targetKl;
  return epoch.batches > 0 && epoch.sum / epoch.batches > targetKl;
}

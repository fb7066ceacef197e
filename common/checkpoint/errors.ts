/**
 * The errors that callers of checkpoints catch.
 *
 * @module
 */

/** A checkpoint cannot be read or written. The message is one full sentence for people. */
export class CheckpointError extends Error {
  /** Tells it from other errors in logs. */
  override readonly name = "CheckpointError";
}

/** A checkpoint can be read, but flags that were given say something else of its model. */
export class CheckpointMismatch extends CheckpointError {}

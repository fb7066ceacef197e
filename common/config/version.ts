/**
 * The version of this program, as checkpoints and status pages name it.
 *
 * @module
 */

/** Semantic version of Tendon. */
export const TENDON_VERSION = "0.1.0";

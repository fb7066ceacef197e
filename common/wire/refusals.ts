/**
 * Why a transition is refused, in words that counters are named by.
 *
 * @module
 */

/**
 * `fields`: one is missing, of the wrong type or out of range; `shape`: an array or a picture has
 * another size than it must have; `reward`: one is not finite, or they do not add up; `end`: it ends
 * in two ways at once; `log_prob_length`, `log_prob_range`, `log_prob_sum`: log-probabilities of
 * another number than tokens, above 0 or not finite, or that do not add up; `version`: no learner has
 * published the weights that it names; `lost_version`: the learner
 * has published them, and then gone back to an older checkpoint; `pictures`, `tokens`: they are not of
 * the size that the policy sees, or leave the grammar. These two are found when the chunk is to be
 * trained on, after it was acknowledged.
 */
export const REFUSAL_REASONS = [
  "fields",
  "shape",
  "reward",
  "end",
  "log_prob_length",
  "log_prob_range",
  "log_prob_sum",
  "version",
  "lost_version",
  "pictures",
  "tokens",
] as const;

/** One of {@link REFUSAL_REASONS}. */
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** What is wrong with a transition. */
export interface TransitionFault {
  /** In a word, for counters. */
  readonly reason: RefusalReason;
  /** The field. */
  readonly field: string;
  /** In a clause that follows the field's name. */
  readonly problem: string;
}

/**
 * The two dialects of π0-FAST: openpi's own, and that of LeRobot's port. They share the network,
 * the action tokenizer and the shape of the prompt, and differ in the rows of {@link DIALECTS}.
 * A policy speaks the one that its weights were trained in: the other one runs without any error
 * and moves the robot wrongly.
 *
 * Sources: openpi `models/tokenizer.py` (FASTTokenizer), `transforms.py` (Normalize) and
 * `models/pi0_fast.py` (sample_actions); LeRobot `policies/pi0_fast` (processor, sampler),
 * `processor/tokenizer_processor.py` and `processor/normalize_processor.py`.
 *
 * @module
 */

/** Names of the dialects, the default first. */
export const DIALECT_NAMES = ["openpi", "lerobot"] as const;

/** One of {@link DIALECT_NAMES}. */
export type DialectName = (typeof DIALECT_NAMES)[number];

/**
 * How numbers become normalised: `quantile` maps the 1st and 99th percentile to ∓1, as openpi does
 * it; `lerobot_quantile` is LeRobot's, which differs where the two are equal or nearly so;
 * `mean_std` shifts to mean 0 and scales to deviation 1.
 */
export const NORMALIZATION_MODES = ["quantile", "mean_std", "lerobot_quantile"] as const;

/** One of {@link NORMALIZATION_MODES}. */
export type NormalizationMode = (typeof NORMALIZATION_MODES)[number];

/** What distinguishes a dialect. */
export interface Dialect {
  /** Its name. */
  readonly name: DialectName;
  /** The task is lower-cased. */
  readonly isTaskLowered: boolean;
  /** A line break inside the task becomes a space. */
  readonly joinsTaskLines: boolean;
  /**
   * BOS stands again between the prompt and `Action: `. LeRobot's sampler lets the prompt see it
   * (its training does not); the sampler is what is followed here.
   */
  readonly repeatsBos: boolean;
  /** How state and actions are normalised unless a checkpoint says otherwise. Neither clips. */
  readonly normalization: NormalizationMode;
  /**
   * What ends a sampled chunk. Both train `|` and then EOS behind the FAST tokens, but LeRobot's
   * sampler stops at the first. The chunk grammar knows by itself when a chunk is complete, so
   * this decides only how many tokens of a sequence are kept free for it.
   */
  readonly stop: "eos" | "bar";
  /**
   * Position of the first token fed after a prefix of L tokens: `openpi` is L + 1, `natural` is L.
   * Null leaves it to the network's variant.
   */
  readonly decodePositions: "natural" | null;
}

/** Every dialect by name. */
export const DIALECTS: Readonly<Record<DialectName, Dialect>> = {
  openpi: {
    name: "openpi",
    isTaskLowered: true,
    joinsTaskLines: false,
    repeatsBos: false,
    normalization: "quantile",
    stop: "eos",
    decodePositions: null,
  },
  lerobot: {
    name: "lerobot",
    isTaskLowered: false,
    joinsTaskLines: true,
    repeatsBos: true,
    normalization: "mean_std",
    stop: "bar",
    decodePositions: "natural",
  },
};

/**
 * How many tokens follow the FAST tokens up to and with the one that stops the sampler.
 *
 * @param dialect The dialect.
 * @returns 2 for `|` and EOS, 1 for `|` alone.
 */
export function closingTokens({ stop }: Dialect): number {
  return stop === "eos" ? 2 : 1;
}

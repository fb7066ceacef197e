/**
 * π0-FAST's prompt, as openpi writes it:
 *
 * ```text
 * <bos>Task: reach the red ball, State: 128 5 255;⏎Action: (FAST ids)|<eos>
 * └──────────────── prefix ───────────────────────┘└────── postfix ──────┘
 * ```
 *
 * LeRobot's dialect keeps the task's case and puts BOS a second time, at the prefix's end.
 *
 * FAST ids live at the top of the language vocabulary, counted downwards:
 * `vocabSize − 1 − fastSkipTokens − fastId`.
 *
 * @module
 */

import { type Dialect, DIALECTS } from "./dialect.ts";
import type { LanguageTokenizer } from "./language.ts";

/** How FAST ids map into the language vocabulary. */
export interface FastIdMapping {
  /**
   * Size of the *model's* vocabulary, the rows of its embedding: 257152 for PaliGemma. Not the
   * tokenizer's own count, which may differ (PaliGemma's on Hugging Face has one token more).
   */
  readonly vocabSize: number;
  /** Ids left free at the top: 128 for PaliGemma, its segmentation tokens. */
  readonly fastSkipTokens: number;
  /** Number of FAST ids. */
  readonly fastVocabSize: number;
}

/** What {@link buildPrefix} is given. */
export interface PrefixOptions {
  /** The language tokenizer. */
  readonly language: LanguageTokenizer;
  /** The task in words. */
  readonly prompt: string;
  /** The *normalised* state, nominally in [−1, 1]. */
  readonly state: ArrayLike<number>;
  /** Most tokens of prefix and postfix together, openpi's max_token_len. */
  readonly maxTokenLen: number;
  /** Tokens of `maxTokenLen` that the postfix needs. Default 0. */
  readonly reservedTokens?: number;
  /** Whose prompt it is. Default openpi's. */
  readonly dialect?: Dialect;
}

/** Bins of the state, over [−1, 1]. */
const STATE_BINS = 256;

/** What Python's `str.strip()` takes for space: U+001C–1F too, and not U+FEFF as JavaScript does. */
const PYTHON_SPACE = "[\\p{White_Space}\\x1c-\\x1f]";
const PYTHON_STRIP = new RegExp(`^${PYTHON_SPACE}+|${PYTHON_SPACE}+$`, "gu");

/**
 * Bin each state number, as `np.digitize(state, np.linspace(-1, 1, 257)[:-1]) - 1` does.
 *
 * @param state Normalised state.
 * @returns Bins 0–255; −1 for a value below −1, which openpi does not clip either.
 * @throws {RangeError} If a value is not a number.
 */
export function discretizeState(state: ArrayLike<number>): Int32Array {
  const bins = new Int32Array(state.length);
  for (let i = 0; i < bins.length; i++) {
    if (Number.isNaN(state[i])) {
      throw new RangeError(`Cannot discretise the state: value ${i} is not a number`);
    }
    const bin = Math.floor((state[i] + 1) * (STATE_BINS / 2));
    // Adding 1 lifts a value just below an edge onto it; the edge itself is exact.
    const isBelow = state[i] < -1 + bin / (STATE_BINS / 2);
    bins[i] = Math.min(Math.max(isBelow ? bin - 1 : bin, -1), STATE_BINS - 1);
  }
  return bins;
}

/**
 * The prefix as text, without BOS.
 *
 * @param prompt The task in words; stripped, `_` becomes a space. openpi's dialect lower-cases it,
 * LeRobot's keeps its case and joins its lines.
 * @param state Normalised state.
 * @param dialect Whose prompt it is.
 * @returns `Task: …, State: …;` and a newline.
 */
export function prefixText(
  prompt: string,
  state: ArrayLike<number>,
  dialect: Dialect = DIALECTS.openpi,
): string {
  const cased = dialect.isTaskLowered ? prompt.toLowerCase() : prompt;
  const words = cased.replace(PYTHON_STRIP, "").replaceAll("_", " ");
  const task = dialect.joinsTaskLines ? words.replaceAll("\n", " ") : words;
  return `Task: ${task}, State: ${discretizeState(state).join(" ")};\n`;
}

/**
 * The tokens that the policy reads before it acts.
 *
 * @param options Tokenizer, task, normalised state and the bound on length.
 * @returns Ids of the language vocabulary, BOS first and, in LeRobot's dialect, last.
 * @throws {RangeError} If the prefix and the reserved tokens exceed `maxTokenLen`.
 */
export function buildPrefix(options: PrefixOptions): Int32Array {
  const { language, prompt, state, maxTokenLen, reservedTokens = 0 } = options;
  const { dialect = DIALECTS.openpi } = options;
  const text = language.encode(prefixText(prompt, state, dialect));
  const { bosId } = language;
  const ids = Int32Array.from(dialect.repeatsBos ? [bosId, ...text, bosId] : [bosId, ...text]);
  const { length } = ids;
  if (length + reservedTokens > maxTokenLen) {
    const reserve = reservedTokens > 0 ? ` and the action ${reservedTokens}` : "";
    throw new RangeError(
      `Cannot build the prompt: it takes ${length} tokens${reserve}, max_token_len is ` +
        `${maxTokenLen}; shorten the task or raise max_token_len`,
    );
  }
  return ids;
}

/**
 * The tokens that precede the FAST ids and are forced rather than sampled.
 *
 * @param language The language tokenizer.
 * @returns Ids of `Action: `, without BOS.
 */
export function forcedActionPrefix(language: LanguageTokenizer): Int32Array {
  return language.encode("Action: ");
}

/**
 * The tokens that follow the FAST ids.
 *
 * @param language The language tokenizer.
 * @returns Ids of `|`, then EOS.
 */
export function actionSuffix(language: LanguageTokenizer): Int32Array {
  return Int32Array.from([...language.encode("|"), language.eosId]);
}

/**
 * The whole postfix, on which imitation is trained.
 *
 * @param language The language tokenizer.
 * @param fastIds FAST ids of the chunk.
 * @param mapping How FAST ids map into the language vocabulary.
 * @returns Ids of `Action: `, the chunk, `|` and EOS.
 * @throws {RangeError} If a FAST id is unknown.
 */
export function buildPostfix(
  language: LanguageTokenizer,
  fastIds: ArrayLike<number>,
  mapping: FastIdMapping,
): Int32Array {
  const actions = Array.from(fastIds, (id) => fastToLanguageId(id, mapping));
  return Int32Array.from([
    ...forcedActionPrefix(language),
    ...actions,
    ...actionSuffix(language),
  ]);
}

/**
 * The language id of a FAST id.
 *
 * @param fastId In [0, fastVocabSize).
 * @param mapping How FAST ids map into the language vocabulary.
 * @returns The language id.
 * @throws {RangeError} If the id is out of range, or the vocabulary is too small for it.
 */
export function fastToLanguageId(fastId: number, mapping: FastIdMapping): number {
  const { vocabSize, fastSkipTokens, fastVocabSize } = mapping;
  if (!Number.isInteger(fastId) || fastId < 0 || fastId >= fastVocabSize) {
    throw new RangeError(
      `Cannot map FAST id ${fastId}: ids run from 0 to ${fastVocabSize - 1}`,
    );
  }
  const id = vocabSize - 1 - fastSkipTokens - fastId;
  if (id < 0) {
    throw new RangeError(
      `Cannot map FAST id ${fastId}: a language vocabulary of ${vocabSize} has no room for it ` +
        `below the ${fastSkipTokens} ids skipped`,
    );
  }
  return id;
}

/**
 * The FAST id of a language id.
 *
 * @param languageId Id of the language vocabulary.
 * @param mapping How FAST ids map into the language vocabulary.
 * @returns The FAST id, or −1 if the id stands for none.
 */
export function languageToFastId(languageId: number, mapping: FastIdMapping): number {
  const fastId = mapping.vocabSize - 1 - mapping.fastSkipTokens - languageId;
  return fastId >= 0 && fastId < mapping.fastVocabSize ? fastId : -1;
}

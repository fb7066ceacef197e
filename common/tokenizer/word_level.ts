/**
 * The tiny variant's language tokenizer: one token a word, so that one state number is one token
 * and a prompt is as short as it can be. It is an ordinary Hugging Face tokenizer of type
 * WordLevel.
 *
 * @module
 */

import type { LanguageFiles } from "./language.ts";

/** Special tokens by id, at the ids that Gemma gives them (its 3 is `<unk>` too). */
const SPECIAL_TOKENS = ["<pad>", "<eos>", "<bos>", "<unk>"];

/** What the prompt is built of besides numbers and the task's words. */
const PROMPT_PIECES = ["Task", ":", ",", ";", "State", "Action", "|", "\n"];

/** State bins: 0–255, and −1 for a value below −1, as openpi's digitising gives it. */
const STATE_BINS = [...Array.from({ length: 256 }, (_, bin) => String(bin)), "-1"];

/**
 * Build the tokenizer's files.
 *
 * Ids: `<pad>` 0, `<eos>` 1, `<bos>` 2, `<unk>` 3, the numbers 0–255 at 4–259, then −1, the
 * prompt's own pieces and the given words. A word that is not among them becomes `<unk>`.
 *
 * @param words Words of the tasks, lower-case; repeated and already known ones are skipped.
 * @returns The files.
 * @throws {RangeError} If a word contains whitespace or punctuation that splits it.
 */
export function buildWordLevelTokenizer(words: readonly string[]): LanguageFiles {
  const vocab = new Map<string, number>();
  for (const token of [...SPECIAL_TOKENS, ...STATE_BINS, ...PROMPT_PIECES]) {
    vocab.set(token, vocab.size);
  }
  for (const word of words) {
    if (word === "" || /[\s:,;|]/.test(word)) {
      throw new RangeError(
        `Cannot build the tokenizer: ${JSON.stringify(word)} is not one word; it must have no ` +
          `space and none of : , ; |`,
      );
    }
    if (!vocab.has(word)) vocab.set(word, vocab.size);
  }
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: SPECIAL_TOKENS.map((content, id) => ({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: {
        type: "Sequence",
        pretokenizers: [
          split("[ \\t]+", "Removed"),
          split("[\\n:,;|]", "Isolated"),
        ],
      },
      post_processor: null,
      decoder: null,
      model: { type: "WordLevel", vocab: Object.fromEntries(vocab), unk_token: "<unk>" },
    },
    config: {
      bos_token: "<bos>",
      clean_up_tokenization_spaces: false,
      eos_token: "<eos>",
      pad_token: "<pad>",
      tokenizer_class: "PreTrainedTokenizerFast",
      unk_token: "<unk>",
    },
  };
}

function split(pattern: string, behavior: string): Record<string, unknown> {
  return { type: "Split", pattern: { Regex: pattern }, behavior, invert: false };
}

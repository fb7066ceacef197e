/**
 * A policy of true size that has never learnt anything: what a decode takes depends on sizes alone.
 *
 * The sequence is that of an ALOHA with three cameras: 768 image tokens and 80 of text before the
 * actions, and chunks of 50 tokens.
 *
 * @module
 */

import { type PolicyVariant, tokensPerImage } from "../../../common/policy/variants.ts";
import { normal, type RandomSource } from "../../../common/random.ts";
import { FastTokenizer } from "../../../common/tokenizer/fast.ts";
import { ChunkGrammar } from "../../../common/tokenizer/grammar.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import type { BenchModel } from "./bench_model.ts";

/** H and A of a chunk of two arms. */
const HORIZON = 16;
const ACTION_DIM = 14;
/** As the preset `full` has it. */
const CRITIC = { hiddenDim: 512, input: "observation", maxSteps: 1 } as const;
/** Text tokens before the actions, unless told. */
const TEXT_TOKENS = 80;
/** As many action tokens as the universal tokenizer of FAST has. */
const FAST_VOCAB = 2048;
/** Standard deviation of a hand's shaking, so that words are short, as those of the universal tokenizer. */
const SHAKE = 0.1;
/** Made-up demonstrations that the tokenizer is fitted to. */
const CHUNKS = 600;

/**
 * Make up a model.
 *
 * @param variant Sizes.
 * @param lengths Tokens before the actions (0: the usual number), and of a chunk.
 * @param random Where its words come from.
 * @throws {RangeError} If the prefix has no room for text beside its image tokens.
 */
export function makeUpModel(
  variant: PolicyVariant,
  lengths: { readonly prefillTokens: number; readonly decodeTokens: number },
  random: RandomSource,
): BenchModel {
  const { gemma, siglip, fastSkipTokens, decodePositions } = variant;
  const imageTokens = tokensPerImage(siglip) * CAMERA_NAMES.length;
  const prefillTokens = lengths.prefillTokens || imageTokens + TEXT_TOKENS;
  const text = prefillTokens - imageTokens;
  if (text < 2) {
    throw new RangeError(
      `A prefill of ${prefillTokens} tokens has no room for text: ${variant.name} has ` +
        `${imageTokens} image tokens; give at least ${imageTokens + 2}`,
    );
  }
  const vocabSize = Math.min(FAST_VOCAB, gemma.vocab - fastSkipTokens - 1);
  const grammar = new ChunkGrammar(fitTokenizer(vocabSize, random), HORIZON, ACTION_DIM);
  const word = () => Math.floor(random() * (gemma.vocab - fastSkipTokens - vocabSize));
  return {
    model: {
      gemma,
      fastSkipTokens,
      decodePositions,
      imageTokens,
      maxTextTokens: text + lengths.decodeTokens,
      critic: CRITIC,
      grammar,
    },
    prefillTokens,
    prompt: Int32Array.from({ length: text - 1 }, word),
    forced: Int32Array.of(word()),
    maxTokens: Math.max(lengths.decodeTokens, grammar.minTokens),
  };
}

/** Fit a tokenizer to smooth motion, as arms make it: a few slow waves a joint. */
function fitTokenizer(vocabSize: number, random: RandomSource): FastTokenizer {
  const chunks = Array.from({ length: CHUNKS }, () => {
    const chunk = new Float32Array(HORIZON * ACTION_DIM);
    for (let joint = 0; joint < ACTION_DIM; joint++) {
      const [offset, slope, wave] = [normal(random), normal(random), normal(random)];
      for (let t = 0; t < HORIZON; t++) {
        const s = t / HORIZON;
        chunk[t * ACTION_DIM + joint] = (offset + slope * s + wave * Math.sin(3 * s)) / 3 +
          SHAKE * normal(random);
      }
    }
    return chunk;
  });
  const size = { horizon: HORIZON, actionDim: ACTION_DIM };
  return FastTokenizer.fit(chunks, { ...size, vocabSize, alphabet: "complete" });
}

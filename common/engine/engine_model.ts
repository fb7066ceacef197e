/**
 * What a decode engine must know of a policy besides its weights.
 * @module
 */

import type { ActorCritic } from "../policy/actor_critic.ts";
import { type GemmaSize, tokensPerImage } from "../policy/variants.ts";
import type { PolicyVariant } from "../policy/variants.ts";
import type { ChunkGrammar } from "../tokenizer/grammar.ts";
import { CAMERA_NAMES } from "../types.ts";

/** Sizes and rules of the sequences that an engine decodes. */
export interface EngineModel {
  /** Sizes of the language model. */
  readonly gemma: GemmaSize;
  /** Highest language ids that are left free of FAST tokens. */
  readonly fastSkipTokens: number;
  /** How decode steps count positions. */
  readonly decodePositions: PolicyVariant["decodePositions"];
  /** I: image tokens of a sequence, all cameras. */
  readonly imageTokens: number;
  /** Most text tokens of a sequence: prompt with its padding, forced words and FAST tokens. */
  readonly maxTextTokens: number;
  /** Steps whose hidden state the critic reads: 1 for the `observation` critic. */
  readonly hiddenSteps: number;
  /** Which FAST token may follow which; its vocabulary is the head's. */
  readonly grammar: ChunkGrammar;
}

/**
 * Describe a policy to an engine.
 *
 * @param policy The policy.
 * @returns Its model.
 */
export function engineModelOf({ shape, grammar }: ActorCritic): EngineModel {
  const { variant, maxTokenLen, valueInput, maxValueSteps } = shape;
  return {
    gemma: variant.gemma,
    fastSkipTokens: variant.fastSkipTokens,
    decodePositions: variant.decodePositions,
    imageTokens: tokensPerImage(variant.siglip) * CAMERA_NAMES.length,
    maxTextTokens: maxTokenLen,
    hiddenSteps: valueInput === "observation" ? 1 : maxValueSteps,
    grammar,
  };
}

/**
 * Places of the cache.
 * @param model The model.
 */
export function capacityOf({ imageTokens, maxTextTokens }: EngineModel): number {
  return imageTokens + maxTextTokens;
}

/**
 * Check that the kernels can serve a model.
 *
 * @param model The model.
 * @throws {RangeError} If it has adapters, or an odd head.
 */
export function checkModel({ gemma, grammar, fastSkipTokens }: EngineModel): void {
  if (gemma.lora) {
    throw new RangeError(
      "Cannot build a decode engine for a model with adapters: merge them into its weights first",
    );
  }
  if (gemma.headDim % 4 !== 0) {
    throw new RangeError(
      `Cannot build a decode engine: its heads have ${gemma.headDim} numbers, which must be a ` +
        "multiple of 4",
    );
  }
  if (grammar.vocabSize + fastSkipTokens > gemma.vocab) {
    throw new RangeError(
      `Cannot build a decode engine: ${grammar.vocabSize} FAST tokens and ${fastSkipTokens} free ` +
        `ids do not fit a vocabulary of ${gemma.vocab}`,
    );
  }
}

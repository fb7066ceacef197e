/**
 * What a decode engine must know of a policy besides its weights.
 * @module
 */

import type { ActorCritic } from "../policy/actor_critic.ts";
import { type GemmaSize, tokensPerImage } from "../policy/variants.ts";
import type { PolicyVariant } from "../policy/variants.ts";
import type { ChunkGrammar } from "../tokenizer/grammar.ts";
import { CAMERA_NAMES } from "../types.ts";
import { MOST_RANK } from "./wgsl/adapter.ts";

/** Sizes of a critic, and what it reads. */
export interface EngineCriticModel {
  /** Width of its hidden layers. */
  readonly hiddenDim: number;
  /** The state before the first action token, or the mean over a chunk's. */
  readonly input: "observation" | "chunk";
  /** Most action tokens that the `chunk` critic reads. */
  readonly maxSteps: number;
}

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
  /** Its critic; chunks have the value 0 if absent. */
  readonly critic?: EngineCriticModel;
  /** Which FAST token may follow which; its vocabulary is the head's. */
  readonly grammar: ChunkGrammar;
}

/**
 * Describe a policy to an engine.
 *
 * @param policy The policy, or what it will be.
 * @returns Its model.
 * @throws {RangeError} If its critic pools by attention, for which there are no kernels.
 */
export function engineModelOf(
  { shape, grammar }: Pick<ActorCritic, "shape" | "grammar">,
): EngineModel {
  const { variant, maxTokenLen, valueInput, maxValueSteps, valueHeadHiddenDim } = shape;
  if (valueInput === "attention") {
    throw new RangeError(
      "Cannot build a decode engine: its critic reads by attention, which it has no kernels for; " +
        "decode with tfjs, or use a critic of another value input",
    );
  }
  return {
    gemma: variant.gemma,
    fastSkipTokens: variant.fastSkipTokens,
    decodePositions: variant.decodePositions,
    imageTokens: tokensPerImage(variant.siglip) * CAMERA_NAMES.length,
    maxTextTokens: maxTokenLen,
    critic: { hiddenDim: valueHeadHiddenDim, input: valueInput, maxSteps: maxValueSteps },
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
 * Steps whose states the critic reads.
 * @param model The model; 0 without a critic.
 */
export function criticSteps({ critic }: EngineModel): number {
  if (!critic) return 0;
  return critic.input === "observation" ? 1 : critic.maxSteps;
}

/** Storage buffers of the widest kernel, with adapters and without. */
const STORAGE_BUFFERS = { adapted: 10, plain: 8 } as const;

/**
 * Check that the kernels can serve a model on a device.
 *
 * @param model The model.
 * @param limits The device's.
 * @throws {RangeError} If heads or adapters have odd sizes, the critic reads no state, the vocabulary
 *   has no room for actions, or the device's kernels take too few buffers.
 */
export function checkModel(
  { gemma, grammar, fastSkipTokens, critic }: EngineModel,
  limits: Pick<GPUSupportedLimits, "maxStorageBuffersPerShaderStage">,
): void {
  const { lora } = gemma;
  if (lora && !(lora.rank > 0 && lora.rank <= MOST_RANK && lora.rank % 4 === 0)) {
    throw new RangeError(
      `Cannot build a decode engine: its adapters have rank ${lora.rank}, which must be a multiple ` +
        `of 4 and at most ${MOST_RANK}`,
    );
  }
  const buffers = lora ? STORAGE_BUFFERS.adapted : STORAGE_BUFFERS.plain;
  if (limits.maxStorageBuffersPerShaderStage < buffers) {
    throw new RangeError(
      `Cannot build a decode engine: the device binds ${limits.maxStorageBuffersPerShaderStage} ` +
        `storage buffers to a kernel, ${buffers} are needed; use another device`,
    );
  }
  if (critic && !(critic.hiddenDim > 0 && critic.maxSteps > 0)) {
    throw new RangeError(
      `Cannot build a decode engine: its critic has ${critic.hiddenDim} hidden units and reads ` +
        `${critic.maxSteps} states, each must be at least 1`,
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

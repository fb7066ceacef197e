/**
 * What this folder's tests share: a policy small enough for finite differences, with the same
 * architecture as the real ones, and made-up observations.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "./tensors.ts";
import { CAMERA_NAMES, type HostTensor, type Observation, type RgbImage } from "../types.ts";
import { createLanguageTokenizer, type LanguageFiles } from "../tokenizer/language.ts";
import type { QuantileStats } from "../tokenizer/normalization.ts";
import { fitTokenizer, randomSource } from "../tokenizer/testing.ts";
import { buildWordLevelTokenizer } from "../tokenizer/word_level.ts";
import { ActorCritic, type PolicyAssets, type PolicyShape } from "./actor_critic.ts";
import { backboneSpecs, drawParameters, ParameterStore, valueHeadSpecs } from "./parameters.ts";
import type { PolicyVariant } from "./variants.ts";

/** H of {@link makePolicy}. */
export const HORIZON = 4;
/** A of {@link makePolicy}. */
export const ACTION_DIM = 7;

/** The smallest variant that has every part twice. */
export const MICRO: PolicyVariant = {
  name: "micro",
  siglip: { imageSize: 28, patch: 14, width: 24, depth: 2, mlpDim: 40, heads: 2 },
  gemma: { width: 32, depth: 2, mlpDim: 48, heads: 2, headDim: 16, vocab: 420 },
  fastSkipTokens: 8,
  decodePositions: "natural",
};

/** {@link MICRO} with adapters. */
export const MICRO_LORA: PolicyVariant = {
  ...MICRO,
  name: "micro_lora",
  gemma: { ...MICRO.gemma, lora: { rank: 4, alpha: 8 } },
};

/** Independent standard normal numbers (Box and Muller, 1958). */
export function normalSource(seed: number): () => number {
  const random = randomSource(seed);
  return () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** The language tokenizer's files of {@link makeAssets}. */
export function languageFiles(): LanguageFiles {
  return buildWordLevelTokenizer(["reach", "the", "red", "blue", "ball", "now"]);
}

function flatStats(dim: number, low: number, high: number): QuantileStats {
  const all = (x: number) => new Array<number>(dim).fill(x);
  return {
    mean: all((low + high) / 2),
    std: all((high - low) / 4),
    q01: all(low),
    q99: all(high),
  };
}

/** Made-up normalisation statistics: states in ±1.5, actions in ±0.3. */
export function makeStats(): { state: QuantileStats; actions: QuantileStats } {
  return { state: flatStats(14, -1.5, 1.5), actions: flatStats(ACTION_DIM, -0.3, 0.3) };
}

let assets: PolicyAssets | undefined;

/** Tokenizers and statistics; fitted once a process. */
export function makeAssets(): PolicyAssets {
  return assets ??= {
    fast: fitTokenizer(HORIZON, ACTION_DIM, 10, 128),
    language: createLanguageTokenizer(languageFiles(), "the tests' tokenizer"),
    stats: makeStats(),
  };
}

/** Weights for a list of arrays: like fresh ones, but nothing is left at zero or one. */
export function drawEverything(
  specs: Parameters<typeof drawParameters>[0],
  seed: number,
): Map<string, HostTensor> {
  const normal = normalSource(seed);
  const tensors = drawParameters(specs, normal);
  for (const { initializer, path } of specs) {
    if (initializer.kind === "normal" && !path.includes("lora")) continue;
    const { data } = tensors.get(path)!;
    for (let i = 0; i < data.length; i++) data[i] += 0.2 * normal();
  }
  return tensors;
}

/**
 * A policy with random weights on the current backend.
 * @param changes Parts of its shape to replace.
 * @param seed Of the weights.
 */
export function makePolicy(changes: Partial<PolicyShape> = {}, seed = 1): ActorCritic {
  const shape: PolicyShape = {
    variant: MICRO,
    horizon: HORIZON,
    actionDim: ACTION_DIM,
    maxTokenLen: 64,
    valueHeadHiddenDim: 16,
    valueInput: "observation",
    maxValueSteps: 8,
    isCriticDetached: false,
    ...changes,
  };
  const backbone = backboneSpecs(shape.variant);
  const head = valueHeadSpecs(
    shape.variant.gemma.width,
    shape.valueHeadHiddenDim,
    shape.valueInput,
  );
  return new ActorCritic(
    shape,
    makeAssets(),
    new ParameterStore(backbone, drawEverything(backbone, seed)),
    new ParameterStore(head, drawEverything(head, seed + 1)),
  );
}

/** A picture of noise. */
export function makeImage(random: () => number, size: number): RgbImage {
  const data = Uint8Array.from({ length: size * size * 3 }, () => Math.floor(256 * random()));
  return { width: size, height: size, data };
}

/** Prompts of three lengths, so that a batch has padding. */
const PROMPTS = ["reach the red ball", "reach", "reach the blue ball now"];

/**
 * Observations whose prompts differ in length.
 * @param size Side of the pictures in pixels.
 */
export function makeObservations(seed: number, count: number, size = 28): Observation[] {
  const random = randomSource(seed);
  return Array.from({ length: count }, (_, i) => ({
    images: Object.fromEntries(
      CAMERA_NAMES.map((camera) => [camera, makeImage(random, size)]),
    ) as unknown as Observation["images"],
    state: Float32Array.from({ length: 14 }, () => 3 * random() - 1.5),
    prompt: PROMPTS[i % PROMPTS.length],
  }));
}

/** Greatest absolute difference; Infinity when the lengths differ or a number is NaN. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i] - b[i]);
    if (!(difference <= most)) most = Number.isNaN(difference) ? Infinity : difference;
  }
  return most;
}

/** Read a tensor and free it. */
export async function take(tensor: Tensor): Promise<Float32Array> {
  const data = await tensor.data<"float32">();
  tensor.dispose();
  return Float32Array.from(data);
}

/** Tensors alive. */
export const countTensors = (): number => tf.memory().numTensors;

/** Prompt ids, images and FAST tokens of a batch, straight for the network. */
export function randomTokens(
  seed: number,
  lengths: readonly number[],
  vocab: number,
): Int32Array[] {
  const random = randomSource(seed);
  return lengths.map((n) => Int32Array.from({ length: n }, () => Math.floor(vocab * random())));
}

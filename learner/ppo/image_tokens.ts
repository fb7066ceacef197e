/**
 * Image tokens of an update's chunks while the image encoder is frozen: computed once or, where the
 * controller sent what its own encoder made of the very same pictures, not at all.
 *
 * @module
 */

import {
  type ActorCritic,
  type PreparedChunks,
  selectRows,
} from "../../common/policy/actor_critic.ts";
import { tokensPerImage } from "../../common/policy/variants.ts";
import { CAMERA_NAMES, type ChunkTransition } from "../../common/types.ts";
import { yieldToEventLoop } from "../../common/yield_to_event_loop.ts";
import { partsOf } from "./minibatch.ts";
import type { PpoOptions } from "./ppo_options.ts";

/** Chunks of an update whose image tokens are computed here too, to compare. */
const COMPARED_CHUNKS = 8;

/**
 * Largest |Δ| that is rounding, as a share of the largest number compared. Of the policy that ships,
 * WebAssembly and cpu differ by 6e-7; another policy's encoder, or another picture, by 0.8.
 */
const TOLERANCE = 1e-3;

/** Whether training leaves the image encoder as it is. */
export function isEncoderFrozen(
  { trainVision, trainScope }: Pick<PpoOptions, "trainVision" | "trainScope">,
): boolean {
  return !trainVision || trainScope === "value_head";
}

/**
 * Whether a learner is better off if chunks bring their image tokens: its encoder is frozen, computes
 * in float32, and makes less of a picture than the picture itself takes. That is so of `tiny` (12 of 28
 * KB a chunk), and not of π0-FAST (6.3 MB of 0.5).
 */
export function wantsImageTokens(
  { network: { variant, backbone } }: Pick<ActorCritic, "network">,
  options: Pick<PpoOptions, "trainVision" | "trainScope">,
): boolean {
  const { siglip, gemma } = variant;
  const tokenBytes = Float32Array.BYTES_PER_ELEMENT * tokensPerImage(siglip) * gemma.width;
  const pictureBytes = 3 * siglip.imageSize ** 2;
  return isEncoderFrozen(options) && backbone.precision === "float32" && tokenBytes <= pictureBytes;
}

/** Chunks with their image tokens. */
export interface EncodedChunks {
  /** The chunks, to be passed through the language model alone. */
  readonly chunks: PreparedChunks;
  /** How many brought image tokens that were taken. */
  readonly taken: number;
  /**
   * Largest |Δ| between those that came and this policy's own over the chunks compared, as a share of
   * the largest of its own; null if none came.
   */
  readonly gap: number | null;
}

/**
 * Put image tokens to chunks: those that came with them or, where none did, this policy's own. A few of
 * those that came are computed here too. If they are not the same, all are: whoever sent them has
 * another encoder.
 *
 * @param policy Its image encoder is frozen.
 * @param chunks Prepared for it.
 * @param transitions The same chunks as they came.
 * @param batchSize Chunks encoded at a time.
 */
export async function withImageTokens(
  policy: ActorCritic,
  chunks: PreparedChunks,
  transitions: readonly ChunkTransition[],
  batchSize: number,
): Promise<EncodedChunks> {
  const { siglip, gemma } = policy.network.variant;
  const width = tokensPerImage(siglip) * CAMERA_NAMES.length * gemma.width;
  const came = transitions.map(({ imageTokens, behaviour }) =>
    imageTokens?.length === width && behaviour.precision === "float32" ? imageTokens : undefined
  );
  const indices = [...came.keys()];
  const compared = evenly(indices.filter((i) => came[i]), COMPARED_CHUNKS);
  const own = new Map<number, Float32Array>();
  const encode = async (wanted: readonly number[]) => {
    for (const rows of partsOf([...wanted], batchSize)) {
      const encoded = await policy.encodeImages(selectRows(chunks, rows).input);
      rows.forEach((row, i) => own.set(row, encoded[i]));
      await yieldToEventLoop();
    }
  };
  await encode(compared);
  const gap = compared.length === 0
    ? null
    : largestGap(compared.map((i) => [came[i]!, own.get(i)!] as const));
  const isTrusted = gap !== null && gap <= TOLERANCE;
  await encode(indices.filter((i) => !own.has(i) && !(isTrusted && came[i])));
  return {
    chunks: {
      ...chunks,
      input: { ...chunks.input, imageTokens: indices.map((i) => own.get(i) ?? came[i]!) },
    },
    taken: isTrusted ? indices.filter((i) => came[i]).length : 0,
    gap,
  };
}

/** At most so many of some items, spread evenly over them. */
function evenly<T>(items: readonly T[], most: number): T[] {
  const count = Math.min(most, items.length);
  return Array.from({ length: count }, (_, i) => items[Math.floor(i * items.length / count)]);
}

/** Largest |a − b| over the largest |b|. */
function largestGap(pairs: readonly (readonly [Float32Array, Float32Array])[]): number {
  let difference = 0, scale = 0;
  for (const [theirs, own] of pairs) {
    own.forEach((x, i) => {
      difference = Math.max(difference, Math.abs(theirs[i] - x));
      scale = Math.max(scale, Math.abs(x));
    });
  }
  return scale === 0 ? difference : difference / scale;
}

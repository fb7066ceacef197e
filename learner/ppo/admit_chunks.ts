/**
 * Which chunks an update may train on.
 * @module
 */

import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { CAMERA_NAMES } from "../../common/types.ts";
import type { RefusedTransition } from "../../common/wire/messages.ts";
import type { Estimate } from "./gae.ts";

/** Why a chunk is left out: its pictures have another size, or its tokens leave the grammar. */
export const CHUNK_FAULTS = ["pictures", "tokens"] as const;

/** One of {@link CHUNK_FAULTS}. */
export type ChunkFault = (typeof CHUNK_FAULTS)[number];

/** Chunks sorted by whether they can be trained on. */
export interface AdmittedChunks {
  /** Those that can. */
  readonly admitted: readonly Estimate[];
  /** How many cannot, by what is wrong. */
  readonly faults: Readonly<Record<ChunkFault, number>>;
  /** The same, one by one: for whoever sent them. */
  readonly refused: readonly RefusedTransition[];
}

/**
 * Leave out what a policy can neither have sampled nor be asked about. Everything that can be checked
 * without its grammar was checked when the chunk came in.
 */
export function admitChunks(
  policy: ActorCritic,
  received: readonly Estimate[],
): AdmittedChunks {
  const faults = { pictures: 0, tokens: 0 };
  const refused: RefusedTransition[] = [];
  const admitted = received.filter(({ transition: { observation, tokens, chunkId } }) => {
    const fault = policy.findFault(observation, tokens);
    if (fault === null) return true;
    const { imageSize } = policy.shape.variant.siglip;
    const isSeen = CAMERA_NAMES.every((camera) => {
      const { width, height } = observation.images[camera];
      return width === imageSize && height === imageSize;
    });
    const reason: ChunkFault = isSeen ? "tokens" : "pictures";
    faults[reason]++;
    const sentence = `Cannot train on chunk ${JSON.stringify(chunkId)}: ${fault}`;
    refused.push({ chunkId, reason, sentence });
    return false;
  });
  return { admitted, faults, refused };
}

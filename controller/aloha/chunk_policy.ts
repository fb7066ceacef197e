/**
 * As much of a policy as a rollout on arms uses; an actor-critic is one.
 *
 * @module
 */

import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import type { PersonsTeller } from "../person_chunk.ts";

/** Samples chunks from what is seen, says what to expect, and tells what a person did. */
export interface ChunkPolicy extends PersonsTeller, Pick<ActorCritic, "sampleActions"> {
  /** Sizes and conventions. */
  readonly shape: PersonsTeller["shape"] & {
    /** The network's sizes. */
    readonly variant: {
      /** The vision tower's. */
      readonly siglip: {
        /** Width and height of the pictures that it takes, in pixels. */
        readonly imageSize: number;
      };
    };
  };
}

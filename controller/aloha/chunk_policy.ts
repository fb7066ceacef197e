/**
 * As much of a policy as a rollout on arms uses; an actor-critic is one.
 *
 * @module
 */

import type { ActionConvention } from "../../common/policy/action_transform.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import type { NormStats } from "../../common/tokenizer/normalization.ts";

/** Samples chunks from what is seen, and says what to expect. */
export interface ChunkPolicy extends Pick<ActorCritic, "sampleActions" | "observationValues"> {
  /** Sizes and conventions. */
  readonly shape: ActionConvention & {
    /** H: control steps of a chunk. */
    readonly horizon: number;
    /** A: 14 moves both arms, 7 the left one. */
    readonly actionDim: number;
    /** The network's sizes. */
    readonly variant: {
      /** The vision tower's. */
      readonly siglip: {
        /** Width and height of the pictures that it takes, in pixels. */
        readonly imageSize: number;
      };
    };
  };
  /** What the policy was trained with. */
  readonly assets: {
    /** How its states and actions are normalised. */
    readonly stats: NormStats;
  };
}

/**
 * What a person did, told as the policy would have told it: FAST tokens of the executed targets, and the
 * critic's value of what was seen.
 *
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import {
  type ActionConvention,
  normalizeActions,
  toPolicyActions,
} from "../common/policy/action_transform.ts";
import { behaviourOfTfjs } from "../common/policy/behaviour.ts";
import { ALOHA_DIM } from "../common/robot/aloha.ts";
import type { FastTokenizer } from "../common/tokenizer/fast.ts";
import type { NormStats } from "../common/tokenizer/normalization.ts";
import type { Behaviour, ChunkTransition, Observation } from "../common/types.ts";

/** As much of a policy as tells a person's chunk; an actor-critic is one. */
export interface PersonsTeller extends Pick<ActorCritic, "observationValues"> {
  /** Sizes and conventions of its chunks. */
  readonly shape: ActionConvention & {
    /** H: control steps of a chunk. */
    readonly horizon: number;
    /** A: 14 moves both arms, 7 the left one. */
    readonly actionDim: number;
  };
  /** What it was trained with. */
  readonly assets: {
    /** Its action tokenizer. */
    readonly fast: Pick<FastTokenizer, "encode">;
    /** How its states and actions are normalised. */
    readonly stats: NormStats;
  };
  /** What decodes in the place of tfjs, if anything does. */
  readonly decoder: Pick<NonNullable<ActorCritic["decoder"]>, "name"> | null;
  /** How its matrices are kept. */
  readonly network: {
    /** Its weights. */
    readonly backbone: Pick<ActorCritic["network"]["backbone"], "precision">;
  };
}

/**
 * Encode targets as the policy's training data are: differences from the state where the policy has
 * them, normalised, the last target repeated up to H.
 *
 * @param policy Whose tokens.
 * @param targets Executed absolute targets `[h, 14]`, 1 ≤ h ≤ H.
 * @param state `[14]` at the chunk's start.
 * @returns FAST ids `[S]`.
 * @throws {RangeError} There is no target, or more than H.
 */
export function encodeTargets(
  { shape, assets }: Pick<PersonsTeller, "shape" | "assets">,
  targets: Float32Array,
  state: Float32Array,
): Int32Array {
  const { horizon, actionDim } = shape;
  const steps = targets.length / ALOHA_DIM;
  if (!Number.isInteger(steps) || steps < 1 || steps > horizon) {
    throw new RangeError(
      `Cannot encode ${steps} targets: a chunk has an integer of 1 to ${horizon}`,
    );
  }
  const whole = new Float32Array(horizon * ALOHA_DIM);
  whole.set(targets);
  for (let step = steps; step < horizon; step++) {
    whole.set(targets.subarray(targets.length - ALOHA_DIM), step * ALOHA_DIM);
  }
  const raw = toPolicyActions(whole, state, actionDim, shape);
  return assets.fast.encode(normalizeActions(raw, assets.stats), horizon, actionDim);
}

/** What a person's chunk has in the place of what a policy samples, but for its tokens. */
export type PersonsFacts = Pick<
  ChunkTransition,
  "driver" | "logProb" | "tokenLogProbs" | "behaviour" | "value"
>;

/**
 * The facts of a chunk that a person will drive.
 *
 * @param policy Whose critic is asked.
 * @param observation What was seen at the chunk's start.
 * @throws {NonFiniteError} The value is not finite.
 * @throws {GpuLostError} The GPU that the critic computes on is lost.
 */
export async function factsOfPerson(
  policy: PersonsTeller,
  observation: Observation,
): Promise<PersonsFacts> {
  const [value] = await policy.observationValues([observation]);
  return {
    driver: "person",
    logProb: 0,
    tokenLogProbs: new Float32Array(0),
    behaviour: behaviourOf(policy),
    value,
  };
}

function behaviourOf({ decoder, network }: PersonsTeller): Behaviour {
  const { precision } = network.backbone;
  return decoder === null ? behaviourOfTfjs(precision) : { precision, decoder: decoder.name };
}

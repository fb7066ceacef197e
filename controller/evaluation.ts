/**
 * Measures a policy on fixed episodes that no training ever sees.
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import type { Robot } from "../common/types.ts";
import { seededRandom } from "../common/random.ts";
import type { ExecutionPlan } from "./execution_length.ts";
import { Rollout } from "./rollout.ts";

/** Seeds of held-out episodes start here; training draws its seeds below. */
export const HELD_OUT_SEED = 0x4000_0000;

/** Outcome of {@link evaluatePolicy}. */
export interface EvaluationResult {
  /** Episodes run. */
  readonly episodes: number;
  /** Share of them that succeeded, 0–1. */
  readonly successRate: number;
  /** Mean sum of rewards of an episode. */
  readonly meanReward: number;
  /** Mean control steps of an episode. */
  readonly meanSteps: number;
  /** Mean tokens of a chunk. */
  readonly meanTokens: number;
  /** Mean control steps executed of a chunk. */
  readonly meanChunkSteps: number;
  /** Seconds that it took. */
  readonly seconds: number;
}

/**
 * Run held-out episodes 0…episodes−1, batched over the given robots.
 * @param options.temperature 1 measures the policy as it acts in training, 0 its best guess.
 * @param options.signal Stops early by throwing.
 * @param options.execution How much of each chunk is executed, as at the end of a run; all of it if
 *   absent.
 */
export async function evaluatePolicy(
  policy: ActorCritic,
  robots: readonly Robot[],
  options: {
    readonly episodes: number;
    readonly temperature: number;
    readonly seed: number;
    readonly signal?: AbortSignal;
    readonly execution?: ExecutionPlan;
  },
): Promise<EvaluationResult> {
  const start = performance.now();
  let next = 0;
  const rollout = new Rollout({
    robots,
    temperature: options.temperature,
    random: seededRandom(options.seed),
    execution: options.execution,
    nextEpisode: () =>
      next < options.episodes
        ? { seed: HELD_OUT_SEED + next, episodeId: `held-out-${next++}` }
        : undefined,
  });
  let successes = 0, reward = 0, steps = 0, tokens = 0, chunks = 0;
  for (;;) {
    options.signal?.throwIfAborted();
    const transitions = await rollout.advance(policy, 0, 1);
    if (transitions.length === 0) break;
    for (const t of transitions) {
      reward += t.reward;
      steps += t.stepsExecuted;
      tokens += t.tokens.length;
      chunks++;
      if ((t.isTerminal || t.isTruncated) && t.isSuccess) successes++;
    }
  }
  const { episodes } = options;
  return {
    episodes,
    successRate: successes / episodes,
    meanReward: reward / episodes,
    meanSteps: steps / episodes,
    meanTokens: tokens / chunks,
    meanChunkSteps: steps / chunks,
    seconds: (performance.now() - start) / 1000,
  };
}

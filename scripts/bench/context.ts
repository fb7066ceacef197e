/**
 * What every part of the benchmark works with.
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import type { ActorCritic } from "../../common/policy/actor_critic.ts";
import { loadPolicy } from "../../common/policy/load.ts";
import { normal, seededRandom } from "../../common/random.ts";
import type { ChunkTransition, Observation } from "../../common/types.ts";
import { HELD_OUT_SEED } from "../../controller/evaluation.ts";
import { Rollout } from "../../controller/rollout.ts";
import { createRobots } from "../../controller/sim/create_robots.ts";

/** What every part of the benchmark works with. */
export interface BenchContext {
  /** Folder of the checkpoint. */
  readonly checkpoint: string;
  /** The configuration that fits it. */
  readonly config: Config;
  /** Timings behind each median. */
  readonly repeats: number;
  /** Share of the full model that part load writes and loads; 1 when absent. */
  readonly loadScale?: number;
  /** Ends the benchmark by throwing its reason. */
  readonly signal: AbortSignal;
}

/** Load the checkpoint's policy anew, untouched by what other parts trained. The caller owns it. */
export async function loadBenchPolicy({ checkpoint, config }: BenchContext): Promise<ActorCritic> {
  const random = seededRandom(config.seed);
  const { policy } = await loadPolicy(checkpoint, { ...config, normal: () => normal(random) });
  return policy;
}

/**
 * First observations of held-out episodes.
 * @param count How many, at least 1.
 */
export async function startObservations(
  { config }: BenchContext,
  policy: ActorCritic,
  count: number,
): Promise<Observation[]> {
  using robots = await createRobots({ ...config, numEnvs: 1 }, imageSize(policy));
  const [robot] = robots.all;
  const observations: Observation[] = [];
  for (let i = 0; i < count; i++) {
    await robot.reset(HELD_OUT_SEED + i);
    observations.push(await robot.observe());
  }
  return observations;
}

/** What {@link collectEpisodes} returns. */
export interface CollectedEpisodes {
  /** Chunks by episode, each episode's in order and to its end. */
  readonly episodes: readonly (readonly ChunkTransition[])[];
  /** Milliseconds in the policy, in physics and in observing. */
  readonly times: Rollout["times"];
}

/**
 * Let the policy act until whole episodes hold at least so many chunks.
 * @param chunks Chunks wanted, at least 1.
 */
export async function collectEpisodes(
  { config, signal }: BenchContext,
  policy: ActorCritic,
  chunks: number,
): Promise<CollectedEpisodes> {
  using robots = await createRobots(config, imageSize(policy));
  let started = 0;
  const rollout = new Rollout({
    robots: robots.all,
    temperature: config.temperature,
    random: seededRandom(config.seed),
    nextEpisode: () => ({ seed: started, episodeId: `bench-${started++}` }),
  });
  const byEpisode = new Map<string, ChunkTransition[]>();
  for (let finished = 0; finished < chunks;) {
    signal.throwIfAborted();
    for (const chunk of await rollout.advance(policy, 0)) {
      const episode = byEpisode.get(chunk.episodeId) ?? [];
      episode.push(chunk);
      byEpisode.set(chunk.episodeId, episode);
      if (chunk.isTerminal || chunk.isTruncated) finished += episode.length;
    }
  }
  const episodes = [...byEpisode.values()].filter((episode) => {
    const last = episode[episode.length - 1];
    return last.isTerminal || last.isTruncated;
  });
  return { episodes, times: rollout.times };
}

function imageSize(policy: ActorCritic): number {
  return policy.shape.variant.siglip.imageSize;
}

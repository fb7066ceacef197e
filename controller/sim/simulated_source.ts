/**
 * Simulated robots as a source of chunks.
 *
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import type { ChunkSource } from "../chunk_source.ts";
import { EpisodeLabels } from "../episode_labels.ts";
import { humanCommands } from "../human_commands.ts";
import { type EpisodeStart, Rollout } from "../rollout.ts";
import { Takeover } from "../takeover.ts";
import { createRobots } from "./create_robots.ts";

/**
 * Create `numEnvs` simulated robots, driven in step.
 *
 * @param config What they practise, and how many.
 * @param options.imageSize Side of the pictures that the policy sees, in pixels.
 * @param options.random Independent uniform numbers in [0, 1).
 * @param options.nextEpisode Names the next episode.
 * @param options.keepsImageTokens Whether transitions are to have their image tokens.
 * @returns The source; dispose of it.
 */
export async function simulatedSource(
  config: Config,
  options: {
    readonly imageSize: number;
    readonly random: () => number;
    readonly nextEpisode: () => EpisodeStart;
    readonly keepsImageTokens: () => boolean;
  },
): Promise<ChunkSource> {
  const { random, nextEpisode, imageSize, keepsImageTokens } = options;
  const robots = await createRobots(config, imageSize);
  const labels = new EpisodeLabels();
  const takeover = new Takeover({ robots: robots.all.length, horizon: config.horizon });
  return {
    runner: new Rollout({
      robots: robots.all,
      temperature: config.temperature,
      random,
      nextEpisode,
      keepsImageTokens,
      execution: config,
      labels,
      takeover,
    }),
    robots: robots.all.length,
    status: () => ({
      kind: "simulated",
      episodes: labels.running,
      takenOver: takeover.robot,
    }),
    commands: humanCommands({ labels, takeover }),
    gauges: [],
    [Symbol.asyncDispose]: () => Promise.try(() => robots[Symbol.dispose]()),
  };
}

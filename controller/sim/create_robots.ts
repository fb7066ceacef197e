/**
 * The simulated robots of a configuration.
 * @module
 */

import type { Config } from "../../common/config/config.ts";
import type { Robot } from "../../common/types.ts";
import { SimulatedAloha } from "./aloha_sim.ts";

/** Joints start within ± this of the reset pose: real arms never start quite alike. */
export const START_NOISE_RAD = 0.02;

/** Several robots. Owner of them all. */
export interface Robots extends Disposable {
  /** The robots. */
  readonly all: readonly Robot[];
}

/**
 * Create `numEnvs` simulated robots.
 * @param imageSize Side of the pictures that the policy sees, in pixels.
 */
export async function createRobots(
  config: Pick<Config, "task" | "transferCubeReward" | "numEnvs" | "maxEpisodeSteps" | "actionDim">,
  imageSize: number,
): Promise<Robots> {
  const { task, transferCubeReward, maxEpisodeSteps, actionDim, numEnvs } = config;
  const options = {
    task,
    transferCube: { pays: transferCubeReward },
    imageSize,
    maxEpisodeSteps,
    actionDim,
    startNoiseRad: START_NOISE_RAD,
  };
  const all: SimulatedAloha[] = [];
  const disposeAll = () => {
    for (const robot of all.splice(0)) robot[Symbol.dispose]();
  };
  try {
    while (all.length < numEnvs) all.push(await SimulatedAloha.create(options));
  } catch (error) {
    disposeAll();
    throw error;
  }
  return { all, [Symbol.dispose]: disposeAll };
}

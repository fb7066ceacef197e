/**
 * What the controller's tests share: a robot of a few lines whose episodes go by script.
 *
 * @module
 */

import { makeImage, normalSource } from "../common/policy/testing.ts";
import { seededRandom } from "../common/random.ts";
import { CAMERA_NAMES, type Observation, type Robot, type StepOutcome } from "../common/types.ts";

/** How an episode goes. */
export interface EpisodeScript {
  /** Control steps until its end. */
  readonly steps: number;
  /** What ends it. */
  readonly end: "success" | "failure" | "timeout" | "timeout after success";
}

/** A robot that does as its script says. Each step is worth 1, 2, 3, … */
export class ScriptedRobot implements Robot {
  /** Targets of every step since the last reset, copies. */
  readonly actions: Float32Array[] = [];
  /** Seeds of the episodes so far. */
  readonly seeds: number[] = [];
  /** Every observation given, oldest first. */
  readonly observed: Observation[] = [];
  readonly #script: (seed: number) => EpisodeScript;
  #current: EpisodeScript = { steps: 0, end: "failure" };

  /**
   * Nothing has happened yet.
   * @param script How the episode of a seed goes.
   */
  constructor(script: (seed: number) => EpisodeScript) {
    this.#script = script;
  }

  /** Begin the episode of a seed. */
  reset(seed: number): Promise<void> {
    this.seeds.push(seed);
    this.actions.length = 0;
    this.#current = this.#script(seed);
    return Promise.resolve();
  }

  /** Pictures of noise, and a state that tells seed and step. */
  observe(): Promise<Observation> {
    const seed = this.seeds.at(-1)!;
    const random = seededRandom(seed);
    const normal = normalSource(seed + this.actions.length);
    const observation: Observation = {
      images: Object.fromEntries(
        CAMERA_NAMES.map((camera) => [camera, makeImage(random, 28)]),
      ) as unknown as Observation["images"],
      state: Float32Array.from({ length: 14 }, () => 0.3 * normal()),
      prompt: "reach the red ball",
    };
    this.observed.push(observation);
    return Promise.resolve(observation);
  }

  /** Take one step of the script. */
  step(action: Float32Array): Promise<StepOutcome> {
    const { steps, end } = this.#current;
    if (this.actions.length >= steps) throw new Error("The episode is over");
    this.actions.push(action.slice());
    const isLast = this.actions.length === steps;
    const isTimeout = end.startsWith("timeout");
    return Promise.resolve({
      reward: this.actions.length,
      isTerminal: isLast && !isTimeout,
      isTruncated: isLast && isTimeout,
      isSuccess: end === "timeout after success" || (isLast && end === "success"),
    });
  }

  /** Nothing is held. */
  [Symbol.dispose](): void {}
}

/** Names episodes 0, 1, … up to a count; their seeds are their numbers. */
export function countedEpisodes(
  count = Infinity,
): () => { seed: number; episodeId: string } | undefined {
  let next = 0;
  return () => next < count ? { seed: next, episodeId: `episode-${next++}` } : undefined;
}

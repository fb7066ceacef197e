/**
 * Several robots of one kind, driven in step so that the policy infers all their chunks in one
 * batch: observe all, infer once, execute each chunk, record.
 *
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { toRobotActions } from "../common/policy/action_transform.ts";
import { fitImages } from "../common/policy/image_resize.ts";
import type { ChunkTransition, Observation, Robot } from "../common/types.ts";
import { yieldToEventLoop } from "../common/yield_to_event_loop.ts";
import { type ChunkOutcome, executeChunk } from "./chunk_executor.ts";

/** Where a lane's next episode comes from. */
export interface EpisodeStart {
  /** Seed of the episode. */
  readonly seed: number;
  /** Its id, unique over all controllers and restarts. */
  readonly episodeId: string;
}

/** Settings of a {@link Rollout}. */
export interface RolloutOptions {
  /** The robots; whoever made them disposes of them. */
  readonly robots: readonly Robot[];
  /** Names the next episode; undefined when there are no more. */
  readonly nextEpisode: () => EpisodeStart | undefined;
  /** 1 samples the policy as it is, 0 takes the best token each time. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
}

/** One robot in the middle of an episode. */
interface Lane {
  readonly robot: Robot;
  episodeId: string;
  chunkIndex: number;
  observation: Observation;
}

/** Where the time of a rollout went, in milliseconds since its start. */
export interface RolloutTimes {
  /** The policy. */
  inferMs: number;
  /** Robots moving, physics in simulation. */
  executeMs: number;
  /** Cameras and joints. */
  observeMs: number;
}

/** Drives robots in step. */
export class Rollout {
  /** Where the time went. */
  readonly times: RolloutTimes = { inferMs: 0, executeMs: 0, observeMs: 0 };
  readonly #options: RolloutOptions;
  readonly #idle: Robot[];
  #lanes: Lane[] = [];

  /** Set up; nothing moves yet. */
  constructor(options: RolloutOptions) {
    this.#options = options;
    this.#idle = [...options.robots];
  }

  /**
   * One chunk of every robot.
   * @param policy May be another one each time: weights are swapped between chunks.
   * @param policyVersion Recorded in the transitions.
   * @returns One transition a busy robot; none when all episodes are over.
   * @throws What the policy throws; the next call begins where that is possible, with the same chunk
   *   or with new episodes.
   */
  async advance(policy: ActorCritic, policyVersion: number): Promise<ChunkTransition[]> {
    const { imageSize } = policy.shape.variant.siglip;
    await this.#startEpisodes(imageSize);
    if (this.#lanes.length === 0) return [];
    const { temperature, random } = this.#options;
    const before = this.#lanes.map((lane) => lane.observation);
    const chunks = await this.#timed(
      "inferMs",
      () => policy.sampleActions(before, { temperature, random }),
    );
    const outcomes = await this.#timed("executeMs", () => this.#execute(policy, chunks));
    await this.#timed("observeMs", () => this.#observe(outcomes, imageSize));
    const finalValues = await this.#timed("inferMs", () => this.#finalValues(policy, outcomes))
      .catch((error) => this.#abandon(error));

    const transitions = this.#lanes.map((lane, i): ChunkTransition => ({
      chunkId: `${lane.episodeId}.${lane.chunkIndex}`,
      episodeId: lane.episodeId,
      chunkIndex: lane.chunkIndex,
      policyVersion,
      observation: before[i],
      tokens: chunks[i].tokens,
      logProb: chunks[i].logProb,
      tokenLogProbs: chunks[i].tokenLogProbs,
      behaviour: chunks[i].behaviour,
      value: chunks[i].value,
      ...outcomes[i],
      finalValue: finalValues.get(lane) ?? 0,
    }));
    this.#releaseFinished(outcomes);
    await yieldToEventLoop();
    return transitions;
  }

  /** Give every idle robot its next episode. */
  async #startEpisodes(imageSize: number): Promise<void> {
    while (this.#idle.length > 0) {
      const start = this.#options.nextEpisode();
      if (!start) return;
      const robot = this.#idle.shift()!;
      await robot.reset(start.seed);
      const observation = fitImages(await robot.observe(), imageSize);
      this.#lanes.push({ robot, episodeId: start.episodeId, chunkIndex: 0, observation });
    }
  }

  #execute(
    policy: ActorCritic,
    chunks: readonly { readonly actions: Float32Array }[],
  ): Promise<ChunkOutcome[]> {
    const { actionDim } = policy.shape;
    return Promise.all(this.#lanes.map(({ robot, observation }, i) => {
      const { stats } = policy.assets;
      const { state } = observation;
      const actions = toRobotActions(chunks[i].actions, state, actionDim, stats, policy.shape);
      return executeChunk(robot, actions);
    }));
  }

  /** New observations where somebody will look at them: not after a terminal chunk. */
  async #observe(outcomes: readonly ChunkOutcome[], imageSize: number): Promise<void> {
    await Promise.all(this.#lanes.map(async (lane, i) => {
      if (outcomes[i].isTerminal) return;
      lane.observation = fitImages(await lane.robot.observe(), imageSize);
    }));
  }

  /** The critic's values of the final observations of episodes that were cut off. */
  async #finalValues(
    policy: ActorCritic,
    outcomes: readonly ChunkOutcome[],
  ): Promise<Map<Lane, number>> {
    const cut = this.#lanes.filter((_, i) => outcomes[i].isTruncated && !outcomes[i].isTerminal);
    const values = await policy.observationValues(cut.map((lane) => lane.observation));
    return new Map(cut.map((lane, i) => [lane, values[i]]));
  }

  /** Episodes whose books cannot be closed are given up. */
  #abandon(error: unknown): never {
    for (const { robot } of this.#lanes) this.#idle.push(robot);
    this.#lanes = [];
    throw error;
  }

  #releaseFinished(outcomes: readonly ChunkOutcome[]): void {
    this.#lanes = this.#lanes.filter((lane, i) => {
      lane.chunkIndex++;
      const hasEnded = outcomes[i].isTerminal || outcomes[i].isTruncated;
      if (hasEnded) this.#idle.push(lane.robot);
      return !hasEnded;
    });
  }

  async #timed<T>(phase: keyof RolloutTimes, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.times[phase] += performance.now() - start;
    return result;
  }
}

/**
 * Several robots of one kind, driven in step so that the policy infers all their chunks in one
 * batch: observe all, infer once, execute each chunk, record. A person may take one of them over, and
 * say how episodes go.
 *
 * @module
 */

import type { ActorCritic } from "../common/policy/actor_critic.ts";
import { toRobotActions } from "../common/policy/action_transform.ts";
import { fitImages } from "../common/policy/image_resize.ts";
import type {
  ChunkTransition,
  Observation,
  Robot,
  SampledChunk,
  StepOutcome,
} from "../common/types.ts";
import { yieldToEventLoop } from "../common/yield_to_event_loop.ts";
import { type ChunkOutcome, executeSteps, rowsOf } from "./chunk_executor.ts";
import type { EpisodeLabels } from "./episode_labels.ts";
import { type ExecutionPlan, stepsToExecute, WHOLE_CHUNKS } from "./execution_length.ts";
import { encodeTargets, factsOfPerson, type PersonsFacts } from "./person_chunk.ts";
import type { Takeover } from "./takeover.ts";

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
  /** Whether transitions are to have their image tokens; never if absent. */
  readonly keepsImageTokens?: () => boolean;
  /** How much of a chunk is executed; all of it if absent. */
  readonly execution?: ExecutionPlan;
  /** What people say about the episodes; nothing if absent. */
  readonly labels?: EpisodeLabels;
  /** A person who may drive one of the robots; nobody if absent. */
  readonly takeover?: Takeover;
}

/** One robot in the middle of an episode. */
interface Lane {
  readonly robot: Robot;
  episodeId: string;
  chunkIndex: number;
  observation: Observation;
}

/** What a transition says about who chose the chunk, and why. */
type Choice = Pick<
  ChunkTransition,
  "driver" | "tokens" | "logProb" | "tokenLogProbs" | "behaviour" | "value" | "imageTokens"
>;

/** What a robot did, and on whose account. */
interface Move {
  readonly lane: Lane;
  readonly choice: Choice;
  readonly outcome: ChunkOutcome;
}

/** A chunk that was executed and is not handed on yet: its end may still want a value. */
interface Executed {
  readonly lane: Lane;
  readonly facts: Choice & Pick<ChunkTransition, "observation" | "policyVersion">;
  readonly outcome: ChunkOutcome;
}

/** Pause between two looks for a person's targets while no other robot moves, in ms. */
const WHEEL_POLL_MS = 50;

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
  #executed: Executed[] = [];

  /** Set up; nothing moves yet. */
  constructor(options: RolloutOptions) {
    this.#options = options;
    this.#idle = [...options.robots];
  }

  /**
   * One chunk of every robot.
   * @param policy May be another one each time: weights are swapped between chunks.
   * @param policyVersion Recorded in the transitions.
   * @param progress How much of the run is done, 0–1.
   * @returns One transition a busy robot but for one that waits for a person; none when all episodes
   *   are over.
   * @throws What the policy throws; the next call goes on where this one stopped: nothing that was
   *   executed is lost.
   */
  async advance(
    policy: ActorCritic,
    policyVersion: number,
    progress: number = 0,
  ): Promise<ChunkTransition[]> {
    const { imageSize } = policy.shape.variant.siglip;
    if (this.#executed.length === 0) {
      await this.#startEpisodes(imageSize);
      if (this.#lanes.length === 0) return [];
      this.#executed = await this.#act(policy, policyVersion, progress);
      await this.#timed("observeMs", () => this.#observe(imageSize));
    }
    if (this.#executed.length === 0) {
      // The only robot that could move waits for a person.
      await this.#options.takeover?.waitForChange(WHEEL_POLL_MS);
      return [];
    }
    const finalValues = await this.#timed("inferMs", () => this.#finalValues(policy));
    const transitions = this.#executed.map(({ lane, facts, outcome }): ChunkTransition => ({
      chunkId: `${lane.episodeId}.${lane.chunkIndex}`,
      episodeId: lane.episodeId,
      chunkIndex: lane.chunkIndex,
      ...facts,
      ...outcome,
      finalValue: finalValues.get(lane) ?? 0,
    }));
    this.#close();
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
      this.#options.labels?.begin(start.episodeId);
    }
  }

  /** Choose a chunk for every robot, and execute them. What may fail comes before any step. */
  async #act(policy: ActorCritic, policyVersion: number, progress: number): Promise<Executed[]> {
    const { temperature, random, keepsImageTokens } = this.#options;
    const keepImageTokens = keepsImageTokens?.() ?? false;
    const lanes = this.#lanes.filter((lane) => !this.#isTakenOver(lane));
    const driven = this.#lanes.find((lane) => this.#isTakenOver(lane));
    const [chunks, told] = await this.#timed("inferMs", async () => {
      const observations = lanes.map(({ observation }) => observation);
      const chunks = await policy.sampleActions(observations, {
        temperature,
        random,
        keepImageTokens,
      });
      const isGoing = driven !== undefined && this.#options.takeover?.hasTargets === true;
      return [chunks, isGoing ? await factsOfPerson(policy, driven.observation) : null] as const;
    });
    const executed = await this.#timed("executeMs", () =>
      Promise.all([
        ...lanes.map((lane, i) => this.#executePolicy(lane, policy, chunks[i], progress)),
        ...told === null ? [] : [this.#executePerson(driven!, policy, told)],
      ]));
    return executed.filter((one) => one !== null).map(({ lane, choice, outcome }) => ({
      lane,
      facts: { ...choice, policyVersion, observation: lane.observation },
      outcome,
    }));
  }

  async #executePolicy(
    lane: Lane,
    policy: ActorCritic,
    chunk: SampledChunk,
    progress: number,
  ): Promise<Move | null> {
    const { shape, assets: { stats } } = policy;
    const { execution = WHOLE_CHUNKS } = this.#options;
    const { actions, entropy, ...sampled } = chunk;
    const { state } = lane.observation;
    const rows = rowsOf(toRobotActions(actions, state, shape.actionDim, stats, shape));
    const steps = stepsToExecute(execution, { horizon: shape.horizon, progress, entropy });
    const outcome = await this.#execute(
      lane,
      (step) => step < steps && !this.#isTakenOver(lane) ? rows(step) : null,
    );
    return outcome && { lane, choice: { driver: "policy", ...sampled }, outcome };
  }

  async #executePerson(
    lane: Lane,
    policy: ActorCritic,
    facts: PersonsFacts,
  ): Promise<Move | null> {
    const takeover = this.#options.takeover!;
    const next = takeover.takeChunk();
    if (next === null) return null;
    const done: number[] = [];
    const outcome = await this.#execute(lane, (step) => {
      const target = next(step);
      if (target !== null) done.push(...target);
      return target;
    });
    if (outcome === null) return null;
    if (outcome.isTerminal || outcome.isTruncated) takeover.clear();
    const tokens = encodeTargets(policy, Float32Array.from(done), lane.observation.state);
    return { lane, choice: { ...facts, tokens }, outcome };
  }

  #execute(
    { robot, episodeId }: Lane,
    next: (step: number) => Float32Array | null,
  ): Promise<ChunkOutcome | null> {
    const { labels } = this.#options;
    return executeSteps(robot, {
      next,
      judge: labels && ((before: StepOutcome) => {
        const outcome = labels.judge(episodeId, before);
        if (outcome.isTerminal || outcome.isTruncated) labels.end(episodeId);
        return outcome;
      }),
    });
  }

  #isTakenOver({ robot }: Lane): boolean {
    const { takeover, robots } = this.#options;
    return takeover !== undefined && takeover.robot !== null && robots[takeover.robot] === robot;
  }

  /** New observations where somebody will look at them: not after a terminal chunk. */
  async #observe(imageSize: number): Promise<void> {
    await Promise.all(this.#executed.map(async ({ lane, outcome }) => {
      if (outcome.isTerminal) return;
      lane.observation = fitImages(await lane.robot.observe(), imageSize);
    }));
  }

  /** The critic's values of the final observations of episodes that were cut off. */
  async #finalValues(policy: ActorCritic): Promise<Map<Lane, number>> {
    const cut = this.#executed.filter(({ outcome }) => outcome.isTruncated);
    const values = await policy.observationValues(cut.map(({ lane }) => lane.observation));
    return new Map(cut.map(({ lane }, i) => [lane, values[i]]));
  }

  /** What was executed is handed on: robots whose episodes are over get new ones. */
  #close(): void {
    for (const { lane, outcome } of this.#executed) {
      lane.chunkIndex++;
      if (!outcome.isTerminal && !outcome.isTruncated) continue;
      this.#idle.push(lane.robot);
      this.#lanes.splice(this.#lanes.indexOf(lane), 1);
    }
    this.#executed = [];
  }

  async #timed<T>(phase: keyof RolloutTimes, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await work();
    this.times[phase] += performance.now() - start;
    return result;
  }
}

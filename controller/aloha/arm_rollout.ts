/**
 * Episodes on arms that move in real time: observe, infer, execute the chunk, record.
 *
 * Two ways of execution. `sync`: a chunk is executed whole, then the next one is inferred while the arms
 * hold. `overlap`: the next chunk is inferred from what is seen while the last k steps still run, and
 * spliced in without a jump (see `splice.ts`). A chunk that comes late finds the arms holding their last
 * pose: the motion thread does that by itself, never by a zero action.
 *
 * The arms move on another thread; their records come back in order and say which step of which plan was
 * executed when. From them the world is told what the arms did, and rewards find their chunks.
 *
 * A person may take over and drive by targets, which pass the same safety filter (their leader arms are
 * not read). A stop or a fault cuts the episode short: what was executed is experience all the same.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { NonFiniteError } from "../../common/device/check_finite.ts";
import { GpuLostError } from "../../common/device/errors.ts";
import { toRobotActions } from "../../common/policy/action_transform.ts";
import { fitImages } from "../../common/policy/image_resize.ts";
import type { ChunkTransition, Observation } from "../../common/types.ts";
import type { EpisodeLabels } from "../episode_labels.ts";
import { type ExecutionPlan, stepsToExecute, WHOLE_CHUNKS } from "../execution_length.ts";
import { MOTION_RECORD } from "../motion/motion_memory.ts";
import { encodeTargets, factsOfPerson } from "../person_chunk.ts";
import type { RolloutTimes } from "../rollout.ts";
import type { Takeover } from "../takeover.ts";
import { ArmPlans } from "./arm_plans.ts";
import { ArmStart, type ArmStartOptions, Interruption } from "./arm_start.ts";
import { ChunkLedger } from "./chunk_ledger.ts";
import type { ChunkPolicy } from "./chunk_policy.ts";
import type { VerdictQuestion } from "./operator/operator.ts";

/** How chunks are executed. */
export const EXECUTION_MODES = ["sync", "overlap"] as const;

/** One of {@link EXECUTION_MODES}. */
export type ExecutionMode = (typeof EXECUTION_MODES)[number];

/** What an {@link ArmRollout} works with. */
export interface ArmRolloutOptions extends ArmStartOptions {
  /** How chunks are executed. */
  readonly mode: ExecutionMode;
  /** k: steps of a chunk that still run while the next one is inferred; below half of the horizon. */
  readonly overlapSteps: number;
  /** 1 samples the policy as it is. */
  readonly temperature: number;
  /** Independent uniform numbers in [0, 1). */
  readonly random: () => number;
  /** How much of a chunk is executed; all of it if absent. With `overlap` at least 2k + 1 steps. */
  readonly execution?: ExecutionPlan;
  /** What people say about the episodes; nothing if absent. */
  readonly labels?: EpisodeLabels;
  /** Asks the operator for verdicts while an episode runs; what they say goes to `labels`. */
  readonly askVerdict?: () => VerdictQuestion;
  /** A person who may drive; nobody if absent. */
  readonly takeover?: Takeover;
}

/** An episode under way. */
interface Episode {
  readonly ledger: ChunkLedger;
  readonly plans: ArmPlans;
  /** The operator is listened to. */
  readonly question: VerdictQuestion | undefined;
}

/** The policy that acts now. */
interface Actor {
  readonly policy: ChunkPolicy;
  readonly policyVersion: number;
  /** How much of the run is done, 0–1. */
  readonly progress: number;
}

/** Time between two looks at what the arms have done, in ms. */
const POLL_MS = 3;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Runs episodes, a chunk a call. */
export class ArmRollout {
  /** Where the time went. */
  readonly times: RolloutTimes = { inferMs: 0, executeMs: 0, observeMs: 0 };
  readonly #options: ArmRolloutOptions;
  #episode: Episode | null = null;
  readonly #start: ArmStart;
  #reason = "";
  #lateChunks = 0;
  #interruptions = 0;

  /** Set up; nothing moves yet. @throws {RangeError} The overlap is no integer of 0 or more. */
  constructor(options: ArmRolloutOptions) {
    const { overlapSteps } = options;
    if (!Number.isInteger(overlapSteps) || overlapSteps < 1) {
      throw new RangeError(
        `Cannot overlap chunks by ${overlapSteps} steps: expected an integer of 1 or more`,
      );
    }
    this.#options = options;
    this.#start = new ArmStart(options);
  }

  /** Chunks of `overlap` that were not there in time: the arms held their pose and waited. */
  get lateChunks(): number {
    return this.#lateChunks;
  }

  /** Episodes that something other than the task has ended. */
  get interruptions(): number {
    return this.#interruptions;
  }

  /**
   * Go on by one chunk: begin an episode if there is none, infer, start the execution and wait until it
   * is time for the next one.
   *
   * @param policy May be another one each time: weights are swapped between chunks.
   * @param policyVersion Recorded in the transitions.
   * @param progress How much of the run is done, 0–1.
   * @returns The transitions that have become complete, often that of the chunk before; none when no
   * episode could begin yet, or everything ends.
   * @throws {RangeError} The overlap is too long for the policy's chunks.
   */
  async advance(
    policy: ChunkPolicy,
    policyVersion: number,
    progress: number = 0,
  ): Promise<ChunkTransition[]> {
    this.#checkOverlap(policy);
    const actor = { policy, policyVersion, progress };
    const episode = this.#episode ?? await this.#begin(policyVersion);
    if (episode === null) return [];
    try {
      if (this.#isTakenOver) await this.#personsChunk(episode, actor);
      else await this.#chunk(episode, actor);
      if (episode.ledger.end === null) return episode.ledger.takeDone();
      await this.#end(episode, actor);
    } catch (error) {
      const isLost = error instanceof Interruption || this.#options.signal.aborted;
      if (!isLost) throw error;
      await this.#interrupted(episode, actor, error as Error);
    }
    return episode.ledger.takeDone();
  }

  /**
   * End the episode under way, if there is one: the arms hold.
   *
   * @param reason Why, in words.
   */
  interrupt(reason: string): void {
    if (this.#episode === null || this.#reason !== "") return;
    this.#reason = reason;
    this.#options.supervisor.dispatch({ type: "hold" });
  }

  /**
   * Hear what the arms did. Called with every record of the motion thread, in order.
   *
   * @param record `MOTION_RECORD`; not kept.
   */
  onRecord(record: Float64Array): void {
    const episode = this.#episode;
    if (episode === null || record[MOTION_RECORD.isStepEnd] !== 1) return;
    if (episode.ledger.end !== null) return;
    const planId = record[MOTION_RECORD.planId], index = record[MOTION_RECORD.planIndex];
    const owner = episode.plans.onStep(planId, index);
    // The episode's time begins with its first step: before it, the arms wait for the policy.
    if (owner === null && !episode.ledger.hasBegun) return;
    const from = MOTION_RECORD.measured;
    const outcome = this.#options.world.onStep(record.subarray(from, from + ALOHA_DIM));
    const { episodeId } = episode.ledger;
    episode.ledger.onStep(owner, this.#options.labels?.judge(episodeId, outcome) ?? outcome);
    if (episode.ledger.end === null) return;
    this.#options.labels?.end(episodeId);
    this.#options.supervisor.dispatch({ type: "episode-end" });
  }

  /** Bring the arms home and the world to a start. Null: something came in between; try again. */
  async #begin(policyVersion: number): Promise<Episode | null> {
    const { supervisor, arms, logger, record, labels, askVerdict } = this.#options;
    const start = await this.#start.begin(policyVersion);
    if (start === null) return null;
    this.#reason = "";
    if (!supervisor.dispatch({ type: "start" }).isAccepted) return null;
    const episode = {
      ledger: new ChunkLedger(start.episodeId),
      plans: new ArmPlans(arms.motion),
      question: askVerdict?.(),
    };
    labels?.begin(start.episodeId);
    this.#episode = episode;
    record("episode", `${start.episodeId} starts, seed ${start.seed}`);
    logger.info(`Episode ${start.episodeId} starts`);
    return episode;
  }

  async #chunk(episode: Episode, actor: Actor): Promise<void> {
    const { arms, temperature, random, mode, overlapSteps, execution = WHOLE_CHUNKS } =
      this.#options;
    const { policy, policyVersion, progress } = actor;
    const { shape: { horizon, actionDim }, assets: { stats } } = policy;
    const isOverlap = mode === "overlap";
    const seenAt = arms.motion.status().step;
    const seen = await this.#see(policy);
    const [chunk] = await this.#ask(
      actor,
      () => policy.sampleActions([seen], { temperature, random }),
    );
    this.#check(episode);
    // Who has taken over meanwhile begins at once; the chunk has moved nothing.
    if (episode.ledger.end !== null || this.#isTakenOver) return;
    const steps = stepsToExecute(execution, {
      horizon,
      progress,
      entropy: chunk.entropy,
      least: isOverlap ? 2 * overlapSteps + 1 : 1,
    });
    const targets = toRobotActions(chunk.actions, seen.state, actionDim, stats, policy.shape)
      .subarray(0, steps * ALOHA_DIM);
    const { tokens, logProb, tokenLogProbs, behaviour, value } = chunk;
    const number = episode.ledger.plan({
      driver: "policy",
      policyVersion,
      observation: seen,
      ...{ tokens, logProb, tokenLogProbs, behaviour, value },
    });
    this.#note(episode, number, `policy version ${policyVersion}`);
    const join = { isJoined: isOverlap, seenAt, overlapSteps };
    if (episode.plans.give(number, targets, join)) this.#lateChunks++;
    const spare = isOverlap ? overlapSteps : 0;
    await this.#until(episode, () => this.#isTakenOver || episode.plans.isDone(spare));
  }

  /** Wait for a person's targets, and execute a chunk of them. */
  async #personsChunk(episode: Episode, actor: Actor): Promise<void> {
    const takeover = this.#options.takeover!;
    const { plans, ledger } = episode;
    // What the policy had planned is not executed any more.
    if (!plans.isHalted) plans.halt();
    await this.#until(episode, () => takeover.hasTargets || !this.#isTakenOver);
    if (ledger.end !== null || !this.#isTakenOver) return;
    const { policy, policyVersion } = actor;
    const seen = await this.#see(policy);
    const facts = await this.#ask(actor, () => factsOfPerson(policy, seen));
    this.#check(episode);
    const targets = ledger.end === null ? rowsUntilNull(takeover.takeChunk()) : [];
    if (targets.length === 0) return;
    const rows = Float32Array.from(targets);
    const tokens = (steps: number) =>
      encodeTargets(policy, rows.subarray(0, steps * ALOHA_DIM), seen.state);
    const number = ledger.plan({ policyVersion, observation: seen, ...facts, tokens });
    this.#note(episode, number, "a person drives");
    plans.give(number, rows, { isJoined: false, seenAt: 0, overlapSteps: 0 });
    await this.#until(episode, () => !this.#isTakenOver || plans.isDone(0));
    if (!this.#isTakenOver) plans.halt();
  }

  get #isTakenOver(): boolean {
    return (this.#options.takeover?.robot ?? null) !== null;
  }

  /** Wait while the arms move, until something holds or the episode ends. */
  #until(episode: Episode, isDone: () => boolean): Promise<void> {
    return this.#timed("executeMs", async () => {
      while (episode.ledger.end === null && !isDone()) {
        await sleep(POLL_MS);
        this.#check(episode);
      }
    });
  }

  #see(policy: ChunkPolicy): Promise<Observation> {
    const { imageSize } = policy.shape.variant.siglip;
    return this.#timed("observeMs", () => Promise.try(() => this.#observe(imageSize)));
  }

  /** Let the policy compute something; what it cannot give ends the episode. */
  #ask<T>({ policyVersion }: Actor, compute: () => Promise<T>): Promise<T> {
    return this.#timed("inferMs", compute)
      .catch((error) => this.#policyFailed(error, policyVersion));
  }

  #note({ ledger }: Episode, number: number, by: string): void {
    this.#options.record("chunk", `${ledger.episodeId} chunk ${number}, ${by}`);
  }

  #observe(imageSize: number): Observation {
    const { world, arms, supervisor } = this.#options;
    const view = world.observe();
    const state = arms.measured();
    if (view.kind === "unavailable") {
      supervisor.dispatch({ type: "hold" });
      throw new Interruption(`a camera is away: ${view.sentence}`);
    }
    if (!state.every(Number.isFinite)) throw new Interruption("a servo has not been heard yet");
    return fitImages({ images: view.images, state, prompt: world.prompt }, imageSize);
  }

  /** Look whether the episode may go on. */
  #check(episode: Episode): void {
    const { supervisor, signal } = this.#options;
    if (episode.ledger.end !== null) return;
    signal.throwIfAborted();
    const { state, reason } = supervisor.status;
    if (state !== "running") {
      throw new Interruption(this.#reason || reason || `the robot is ${state}`);
    }
  }

  /** The task has ended the episode: close its books with the critic's word on what would have come. */
  async #end(episode: Episode, actor: Actor): Promise<void> {
    const { ledger } = episode;
    const { record, logger } = this.#options;
    const isCut = ledger.end?.isTruncated === true;
    ledger.close(isCut ? await this.#valueNow(actor) : undefined);
    this.#leave(episode);
    const how = ledger.isSuccess ? "success" : ledger.end?.isTerminal ? "failure" : "cut off";
    record("episode", `${ledger.episodeId} ends: ${how}`);
    logger.info(`Episode ${ledger.episodeId} ends: ${how}`);
  }

  /** The critic's value of what is seen now; undefined when nobody can look or tell. */
  async #valueNow(actor: Actor): Promise<number | undefined> {
    try {
      const seen = await this.#see(actor.policy);
      const [value] = await this.#ask(actor, () => actor.policy.observationValues([seen]));
      return value;
    } catch (error) {
      if (!(error instanceof Interruption)) throw error;
      return undefined;
    }
  }

  /** Nobody labels or judges the episode any more, and targets meant for it are dropped. */
  #leave({ ledger, question }: Episode): void {
    this.#episode = null;
    this.#options.labels?.end(ledger.episodeId);
    this.#options.takeover?.clear();
    question?.[Symbol.dispose]();
  }

  /** What the policy cannot give ends the episode, not the program: the arms hold. */
  #policyFailed(error: unknown, policyVersion: number): never {
    if (!(error instanceof NonFiniteError || error instanceof GpuLostError)) throw error;
    if (error instanceof NonFiniteError) {
      const sentence = `version ${policyVersion} of the policy is broken: ${error.message}`;
      this.#start.refuseVersion(policyVersion, sentence);
    }
    throw new Interruption(error.message, { cause: error });
  }

  /** Something else has ended it. What was executed is kept, as an episode that was cut short. */
  async #interrupted(episode: Episode, actor: Actor, why: Error): Promise<void> {
    const { supervisor, logger, record, signal } = this.#options;
    const { ledger } = episode;
    this.#interruptions++;
    this.#leave(episode);
    supervisor.dispatch({ type: "hold" });
    record("episode", `${ledger.episodeId} interrupted: ${why.message}`);
    logger.warn(`Episode ${ledger.episodeId} was interrupted: ${why.message}`);
    // A program that ends does not wait for the critic, and one that has just failed is not asked.
    const canAsk = ledger.hasBegun && !signal.aborted && why.cause === undefined;
    ledger.close(canAsk ? await this.#valueNow(actor) : undefined);
  }

  #checkOverlap({ shape: { horizon } }: ChunkPolicy): void {
    const { mode, overlapSteps } = this.#options;
    if (mode === "sync" || 2 * overlapSteps < horizon) return;
    throw new RangeError(
      `Cannot overlap chunks of ${horizon} steps by ${overlapSteps}: less than half of the horizon ` +
        "is possible; set --overlap-steps lower",
    );
  }

  async #timed<T>(phase: keyof RolloutTimes, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.times[phase] += performance.now() - start;
    }
  }
}

/** All rows of a person's chunk, one after the other. */
function rowsUntilNull(next: ((step: number) => Float32Array | null) | null): number[] {
  const rows: number[] = [];
  for (let step = 0; next !== null; step++) {
    const row = next(step);
    if (row === null) break;
    rows.push(...row);
  }
  return rows;
}

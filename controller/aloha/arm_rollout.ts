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
import type { ChunkTransition, Logger, Observation } from "../../common/types.ts";
import type { EpisodeLabels } from "../episode_labels.ts";
import { type ExecutionPlan, stepsToExecute, WHOLE_CHUNKS } from "../execution_length.ts";
import { MOTION_RECORD } from "../motion/motion_memory.ts";
import { encodeTargets, factsOfPerson } from "../person_chunk.ts";
import type { EpisodeStart, RolloutTimes } from "../rollout.ts";
import type { EventKind } from "../step_log/layout.ts";
import type { Takeover } from "../takeover.ts";
import { ArmPlans } from "./arm_plans.ts";
import { ChunkLedger } from "./chunk_ledger.ts";
import type { ChunkPolicy } from "./chunk_policy.ts";
import type { VerdictQuestion } from "./operator/operator.ts";
import type { RobotArms } from "./robot_arms.ts";
import type { Supervisor } from "./supervisor.ts";
import type { EpisodeWorld } from "./world/episode_world.ts";

/** How chunks are executed. */
export const EXECUTION_MODES = ["sync", "overlap"] as const;

/** One of {@link EXECUTION_MODES}. */
export type ExecutionMode = (typeof EXECUTION_MODES)[number];

/** What an {@link ArmRollout} works with. */
export interface ArmRolloutOptions {
  /** The arms. */
  readonly arms: RobotArms;
  /** Who lets them move. */
  readonly supervisor: Supervisor;
  /** What surrounds them. */
  readonly world: EpisodeWorld;
  /** How chunks are executed. */
  readonly mode: ExecutionMode;
  /** k: steps of a chunk that still run while the next one is inferred; below half of the horizon. */
  readonly overlapSteps: number;
  /** Names the next episode. */
  readonly nextEpisode: () => EpisodeStart;
  /** Waits for a person's start, where the supervisor wants one. */
  readonly waitForStart: (signal: AbortSignal) => Promise<void>;
  /** Everything that keeps this policy from moving these arms now; none if it may. */
  readonly refusals: () => readonly string[];
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
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Takes lines for the step log. */
  readonly record: (kind: EventKind, text: string) => void;
  /** Ends everything. */
  readonly signal: AbortSignal;
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

/** Why an episode cannot go on. */
class Interruption extends Error {
  override readonly name = "Interruption";
}

/** Time between two looks at what the arms have done, in ms. */
const POLL_MS = 3;
/** Pause before an episode is tried again that could not begin, in ms. */
const RETRY_MS = 500;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Runs episodes, a chunk a call. */
export class ArmRollout {
  /** Where the time went. */
  readonly times: RolloutTimes = { inferMs: 0, executeMs: 0, observeMs: 0 };
  readonly #options: ArmRolloutOptions;
  #episode: Episode | null = null;
  #refused = "";
  #reason = "";
  /** The weights whose numbers were not finite, and what they computed. */
  #broken: { readonly version: number; readonly sentence: string } | null = null;
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
    const { supervisor, world, arms, nextEpisode, logger, record, signal, labels, askVerdict } =
      this.#options;
    let start: EpisodeStart;
    // Whatever happens to the arms while the world gets ready ends the waiting, too.
    const left = new AbortController();
    try {
      if (!(await this.#reachHome(policyVersion))) return null;
      start = nextEpisode();
      const leaving = this.#whenNotReady(left);
      await world.begin(start.seed, AbortSignal.any([signal, left.signal]), arms.measured())
        .finally(() => left.abort(new Interruption("the wait is over")));
      await leaving;
    } catch (error) {
      if (signal.aborted || error instanceof Interruption) return null;
      throw error;
    }
    const because = this.#refusals(policyVersion);
    if (because.length > 0) return await this.#refuse(because);
    this.#refused = "";
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

  /** End a wait when the arms leave the state that it began in. */
  async #whenNotReady(wait: AbortController): Promise<void> {
    const { supervisor } = this.#options;
    try {
      while (supervisor.status.state === "holding") await supervisor.change(wait.signal);
      wait.abort(new Interruption("the arms are not ready any more"));
    } catch {
      // The wait is over.
    }
  }

  /** Wait until the arms may move, and home them. False: something came in between. */
  async #reachHome(policyVersion: number): Promise<boolean> {
    const { supervisor, waitForStart, signal } = this.#options;
    const { state } = supervisor.status;
    if (state !== "ready" && state !== "holding") {
      await supervisor.change(signal);
      return false;
    }
    if (supervisor.needsStart) {
      await waitForStart(signal);
      // A start that was said while the arms were away, or stopped, is not one for when they are back.
      if (["ready", "holding"].includes(supervisor.status.state)) supervisor.started();
      return false;
    }
    // Arms that may not be moved by this policy now are not sent home again and again.
    const because = this.#refusals(policyVersion);
    if (because.length > 0) {
      await this.#refuse(because);
      return false;
    }
    if (!supervisor.dispatch({ type: "home" }).isAccepted) return false;
    while (supervisor.status.state === "homing") await supervisor.change(signal);
    return supervisor.status.state === "holding" && supervisor.status.isHomed;
  }

  /** Everything that keeps these weights from moving these arms now. */
  #refusals(policyVersion: number): string[] {
    const because = [...this.#options.refusals()];
    // They would fail in every episode anew, and the arms go home in between for ever.
    if (this.#broken?.version === policyVersion) because.push(this.#broken.sentence);
    return because;
  }

  async #refuse(because: readonly string[]): Promise<null> {
    const { logger, record } = this.#options;
    const sentence = because.join("; ");
    // Said once: what is missing may take a while to come.
    if (sentence !== this.#refused) {
      logger.warn(`No episode starts: ${sentence}`);
      record("note", `no episode starts: ${sentence}`);
    }
    this.#refused = sentence;
    await sleep(RETRY_MS);
    return null;
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
      this.#broken = { version: policyVersion, sentence };
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

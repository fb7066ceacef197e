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
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { NonFiniteError } from "../../common/device/check_finite.ts";
import { GpuLostError } from "../../common/device/errors.ts";
import { toRobotActions } from "../../common/policy/action_transform.ts";
import { fitImages } from "../../common/policy/image_resize.ts";
import type { ChunkTransition, Logger, Observation } from "../../common/types.ts";
import { MOTION_RECORD } from "../motion/motion_memory.ts";
import type { EpisodeStart, RolloutTimes } from "../rollout.ts";
import type { EventKind } from "../step_log/layout.ts";
import { ChunkLedger } from "./chunk_ledger.ts";
import type { ChunkPolicy } from "./chunk_policy.ts";
import type { RobotArms } from "./robot_arms.ts";
import { splice } from "./splice.ts";
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
  /** Takes lines for people. */
  readonly logger: Logger;
  /** Takes lines for the step log. */
  readonly record: (kind: EventKind, text: string) => void;
  /** Ends everything. */
  readonly signal: AbortSignal;
}

/** A plan that was given to the motion thread, and whose steps are whose. */
interface LivePlan {
  readonly id: number;
  readonly targets: Float32Array;
  /** Steps before it belong to `before`, the others to `chunk`. */
  readonly boundary: number;
  readonly before: number | null;
  readonly chunk: number;
  /** Control step at which the motion thread was given it. */
  readonly givenAt: number;
}

/** An episode under way. */
interface Episode {
  readonly ledger: ChunkLedger;
  /** Plans that may still be executed: the newest, and the one that it replaces. */
  readonly plans: LivePlan[];
  /** Index of the newest plan's step that was executed last; −1: none yet. */
  executed: number;
}

/** Why an episode cannot go on. */
class Interruption extends Error {
  override readonly name = "Interruption";
}

/** A plan that is written now is seen in the next step; if a moment later, it begins in its middle. */
const LEAD_STEPS = 1;
/** A plan that the motion thread does not have after so many control steps was forgotten by it. */
const MAX_UNSEEN_STEPS = 5;
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
   * @returns The transitions that have become complete, often that of the chunk before; none when no
   * episode could begin yet, or everything ends.
   * @throws {RangeError} The overlap is too long for the policy's chunks.
   */
  async advance(policy: ChunkPolicy, policyVersion: number): Promise<ChunkTransition[]> {
    this.#checkOverlap(policy);
    const episode = this.#episode ?? await this.#begin(policyVersion);
    if (episode === null) return [];
    try {
      await this.#chunk(episode, policy, policyVersion);
      if (episode.ledger.end === null) return episode.ledger.takeDone();
      await this.#end(episode, policy, policyVersion);
    } catch (error) {
      const isLost = error instanceof Interruption || this.#options.signal.aborted;
      if (!isLost) throw error;
      this.#interrupted(episode, error as Error);
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
    const plan = episode.plans.find(({ id }) => id === planId);
    const owner = plan === undefined ? null : index < plan.boundary ? plan.before : plan.chunk;
    // The episode's time begins with its first step: before it, the arms wait for the policy.
    if (owner === null && !episode.ledger.hasBegun) return;
    const from = MOTION_RECORD.measured;
    const outcome = this.#options.world.onStep(record.subarray(from, from + ALOHA_DIM));
    episode.ledger.onStep(owner, outcome);
    if (plan !== undefined && plan === episode.plans.at(-1)) episode.executed = index;
    if (episode.ledger.end !== null) this.#options.supervisor.dispatch({ type: "episode-end" });
  }

  /** Bring the arms home and the world to a start. Null: something came in between; try again. */
  async #begin(policyVersion: number): Promise<Episode | null> {
    const { supervisor, world, arms, nextEpisode, logger, record, signal } = this.#options;
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
    const episode = { ledger: new ChunkLedger(start.episodeId), plans: [], executed: -1 };
    if (!supervisor.dispatch({ type: "start" }).isAccepted) return null;
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

  async #chunk(episode: Episode, policy: ChunkPolicy, policyVersion: number): Promise<void> {
    const { arms, temperature, random, record, mode, overlapSteps } = this.#options;
    const { imageSize } = policy.shape.variant.siglip;
    const seenAt = arms.motion.status().step;
    const seen = await this.#timed("observeMs", () => Promise.try(() => this.#observe(imageSize)));
    const [chunk] = await this.#timed(
      "inferMs",
      () => policy.sampleActions([seen], { temperature, random }),
    ).catch((error) => this.#policyFailed(error, policyVersion));
    this.#check(episode);
    if (episode.ledger.end !== null) return;
    const { actionDim } = policy.shape;
    const { stats } = policy.assets;
    const targets = toRobotActions(chunk.actions, seen.state, actionDim, stats, policy.shape);
    const { tokens, logProb, tokenLogProbs, behaviour, value } = chunk;
    const sampled = { tokens, logProb, tokenLogProbs, behaviour, value };
    const number = episode.ledger.plan({ policyVersion, observation: seen, ...sampled });
    record("chunk", `${episode.ledger.episodeId} chunk ${number}, policy version ${policyVersion}`);
    this.#execute(episode, number, targets, seenAt);
    const spare = mode === "overlap" ? overlapSteps : 0;
    await this.#timed("executeMs", async () => {
      const last = episode.plans.at(-1)!;
      const lastIndex = last.targets.length / ALOHA_DIM - 1 - spare;
      while (
        episode.ledger.end === null && episode.executed < lastIndex &&
        !this.#isOver(last, lastIndex)
      ) {
        await sleep(POLL_MS);
        this.#check(episode);
      }
    });
  }

  /**
   * Whether a plan's step has passed though nobody recorded it: its cycle was skipped, the arms held
   * meanwhile, or the motion thread has forgotten the plan since this thread was silent.
   */
  #isOver({ id, givenAt }: LivePlan, index: number): boolean {
    const { step, planId, planFirstStep } = this.#options.arms.motion.status();
    return planId === id ? step - planFirstStep > index : step > givenAt + MAX_UNSEEN_STEPS;
  }

  /** Give a chunk to the motion thread, joined to what is still being executed. */
  #execute(episode: Episode, number: number, next: Float32Array, seenAt: number): void {
    const { arms, mode, overlapSteps } = this.#options;
    const last = episode.plans.at(-1);
    const status = arms.motion.status();
    let firstStep = -1;
    let plan = { targets: next, boundary: 0 };
    if (mode === "overlap" && last !== undefined) {
      // From here on nothing of the plan before is executed any more, only what is copied of it.
      firstStep = status.step + LEAD_STEPS;
      const index = firstStep - status.planFirstStep;
      const rows = last.targets.length / ALOHA_DIM;
      const from = Math.max(0, Math.min(index, rows));
      const remaining = last.targets.subarray(from * ALOHA_DIM);
      const before = Math.max(0, from - 1);
      const isLate = from === rows;
      if (isLate) this.#lateChunks++;
      // While the arms waited for it, the chunk's time stood still with them.
      const elapsed = isLate ? overlapSteps : firstStep - (seenAt + 1);
      plan = splice({
        last: last.targets.subarray(before * ALOHA_DIM, (before + 1) * ALOHA_DIM),
        remaining,
        next,
        elapsed,
      });
      if (isLate) firstStep = -1;
    }
    const id = arms.motion.follow(plan.targets, firstStep);
    const before = last?.chunk ?? null;
    episode.plans.push({ id, before, chunk: number, givenAt: status.step, ...plan });
    if (episode.plans.length > 2) episode.plans.shift();
    episode.executed = -1;
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
  async #end(episode: Episode, policy: ChunkPolicy, policyVersion: number): Promise<void> {
    const { ledger } = episode;
    const { record, logger } = this.#options;
    let finalValue: number | undefined;
    if (ledger.end?.isTruncated === true) {
      try {
        const seen = this.#observe(policy.shape.variant.siglip.imageSize);
        [finalValue] = await policy.observationValues([seen])
          .catch((error) => this.#policyFailed(error, policyVersion));
      } catch (error) {
        if (!(error instanceof Interruption)) throw error;
      }
    }
    ledger.close(finalValue);
    this.#episode = null;
    const how = ledger.isSuccess ? "success" : ledger.end?.isTerminal ? "failure" : "cut off";
    record("episode", `${ledger.episodeId} ends: ${how}`);
    logger.info(`Episode ${ledger.episodeId} ends: ${how}`);
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

  /** Something else has ended it. What was executed is kept, as an episode that was cut off. */
  #interrupted(episode: Episode, why: Error): void {
    const { supervisor, logger, record } = this.#options;
    this.#interruptions++;
    this.#episode = null;
    supervisor.dispatch({ type: "hold" });
    episode.ledger.close(undefined);
    record("episode", `${episode.ledger.episodeId} interrupted: ${why.message}`);
    logger.warn(`Episode ${episode.ledger.episodeId} was interrupted: ${why.message}`);
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

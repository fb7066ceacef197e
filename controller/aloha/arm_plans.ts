/**
 * Plans that the motion thread was given in one episode: how a chunk becomes one, whose each of its
 * steps is, and when it has been executed.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import type { MotionThread } from "../motion/motion_thread.ts";
import { splice } from "./splice.ts";

/** A plan that was given to the motion thread. */
interface LivePlan {
  readonly id: number;
  readonly targets: Float32Array;
  /** Steps before it belong to `before`, the others to `chunk`. */
  readonly boundary: number;
  readonly before: number | null;
  /** The chunk's number in the ledger; null for a plan that only holds. */
  readonly chunk: number | null;
  /** Control step at which the motion thread was given it. */
  readonly givenAt: number;
}

/** How a chunk follows the one before. */
export interface JoinOptions {
  /** Join it to the steps of the last plan that still run, instead of beginning right away. */
  readonly isJoined: boolean;
  /** Control step at which the chunk's observation was taken. */
  readonly seenAt: number;
  /** k: steps that were to run while the chunk was inferred. */
  readonly overlapSteps: number;
}

/** A plan that is written now is seen in the next step; if a moment later, it begins in its middle. */
const LEAD_STEPS = 1;
/** A plan that the motion thread does not have after so many control steps was forgotten by it. */
const MAX_UNSEEN_STEPS = 5;

/** One episode's plans. */
export class ArmPlans {
  readonly #motion: Pick<MotionThread, "follow" | "status">;
  /** Plans that may still be executed: the newest, and the one that it replaces. */
  readonly #plans: LivePlan[] = [];
  /** Index of the newest plan's step that was executed last; −1: none yet. */
  #executed = -1;

  /** No plan yet. */
  constructor(motion: Pick<MotionThread, "follow" | "status">) {
    this.#motion = motion;
  }

  /**
   * Note that a plan's step was executed.
   *
   * @returns Number of the chunk that it belongs to; null if the arms only held.
   */
  onStep(planId: number, index: number): number | null {
    const plan = this.#plans.find(({ id }) => id === planId);
    if (plan === undefined) return null;
    if (plan === this.#plans.at(-1)) this.#executed = index;
    return index < plan.boundary ? plan.before : plan.chunk;
  }

  /**
   * Give a chunk to the motion thread.
   *
   * @param chunk Its number in the ledger.
   * @param next Its targets `[h, 14]`.
   * @returns Whether it came late: the plan before had ended, and the arms held.
   */
  give(
    chunk: number,
    next: Float32Array,
    { isJoined, seenAt, overlapSteps }: JoinOptions,
  ): boolean {
    const last = this.#plans.at(-1);
    if (!isJoined || last === undefined || last.chunk === null) {
      this.#follow({ targets: next, boundary: 0, before: last?.chunk ?? null, chunk }, -1);
      return false;
    }
    const { step, planFirstStep } = this.#motion.status();
    // From here on nothing of the plan before is executed any more, only what is copied of it.
    const firstStep = step + LEAD_STEPS;
    const index = firstStep - planFirstStep;
    const rows = last.targets.length / ALOHA_DIM;
    const from = Math.max(0, Math.min(index, rows));
    const before = Math.max(0, from - 1);
    const isLate = from === rows;
    const plan = splice({
      last: last.targets.subarray(before * ALOHA_DIM, (before + 1) * ALOHA_DIM),
      remaining: last.targets.subarray(from * ALOHA_DIM),
      next,
      // While the arms waited for it, the chunk's time stood still with them.
      elapsed: isLate ? overlapSteps : firstStep - (seenAt + 1),
    });
    this.#follow({ ...plan, before: last.chunk, chunk }, isLate ? -1 : firstStep);
    return isLate;
  }

  /** Let the arms hold where they are told to be now: nobody's plan is executed any more. */
  halt(): void {
    const targets = Float32Array.from(this.#motion.status().command);
    this.#follow({ targets, boundary: 0, before: null, chunk: null }, -1);
  }

  /** Whether the newest plan holds, or there is none. */
  get isHalted(): boolean {
    return (this.#plans.at(-1)?.chunk ?? null) === null;
  }

  /**
   * Whether the newest plan has been executed, or has passed though nobody recorded it: its cycle was
   * skipped, the arms held meanwhile, or the motion thread has forgotten the plan since this thread was
   * silent.
   *
   * @param spare Steps of it that may still be to come.
   */
  isDone(spare: number): boolean {
    const { id, givenAt, targets } = this.#plans.at(-1)!;
    const lastIndex = targets.length / ALOHA_DIM - 1 - spare;
    if (this.#executed >= lastIndex) return true;
    const { step, planId, planFirstStep } = this.#motion.status();
    return planId === id ? step - planFirstStep > lastIndex : step > givenAt + MAX_UNSEEN_STEPS;
  }

  #follow(plan: Omit<LivePlan, "id" | "givenAt">, firstStep: number): void {
    const { step: givenAt } = this.#motion.status();
    const id = this.#motion.follow(plan.targets, firstStep);
    this.#plans.push({ ...plan, id, givenAt });
    if (this.#plans.length > 2) this.#plans.shift();
    this.#executed = -1;
  }
}

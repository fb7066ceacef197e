/**
 * `reach`: bring the left gripper's pinch point to a red ball that floats over the table.
 *
 * Reward of a step: progress towards the ball (metres, times a scale) + a bonus at success − a small
 * cost of time. Progress telescopes: over an episode it sums to the scale times the distance gained,
 * however the arm got there, so it moves no optimum.
 *
 * @module
 */

import type { PhysicsData, PhysicsModel } from "./mujoco.ts";
import { type RandomSource, uniform } from "../../common/random.ts";
import { BALL_RADIUS_M } from "./scene.ts";
import { TASK_PROMPTS } from "./task_names.ts";
import type { Task, TaskScore } from "./tasks.ts";

/** Settings of {@link ReachTask}. */
export interface ReachOptions {
  /** Success when the pinch point is this close to the ball's centre, in metres. Default 0.036. */
  readonly successRadiusM?: number;
  /**
   * Reward a metre of progress. Default 8: the mean start is about 0.15 m from the ball, of which
   * 0.036 m need not be gone, so that a typical success earns about 1 in progress.
   */
  readonly progressScale?: number;
  /** Reward of the step that succeeds. Default 1. */
  readonly successBonus?: number;
  /** Cost of every control step. Default 0.002, so 0.2 for an episode of 100 steps. */
  readonly timePenalty?: number;
  /**
   * How far beyond each face of {@link REACH_BOX_M} the ball may lie, in metres; negative shrinks the
   * box. Demonstrations use it, so that no ball of the task is at the rim of what they show. Default 0.
   */
  readonly boxMarginM?: number;
}

/** What {@link ReachTask} is without settings; {@link ReachOptions} says what each number means. */
export const REACH_DEFAULTS: Readonly<Required<ReachOptions>> = {
  successRadiusM: 0.036,
  progressScale: 8,
  successBonus: 1,
  timePenalty: 0.002,
  boxMarginM: 0,
};

/**
 * The box of ball centres in the world, in metres: 0.20 × 0.25 × 0.15 m around and below the left
 * arm's reset tip at (−0.168, −0.019, 0.330).
 */
export const REACH_BOX_M = {
  min: [-0.225, -0.144, 0.145],
  max: [-0.025, 0.106, 0.295],
} as const;

/** See the module. */
export class ReachTask implements Task {
  /** Which task. */
  readonly name = "reach";
  /** The task in words. */
  readonly prompt: string = TASK_PROMPTS.reach;
  readonly #data: PhysicsData;
  readonly #pinchSite: number;
  readonly #ball: number;
  readonly #shadow: number;
  readonly #options: Required<ReachOptions>;
  #distanceM = 0;

  /**
   * Set the task up.
   *
   * @param model The scene of `reach`.
   * @param data Its state.
   * @param options Settings.
   * @throws {RangeError} The success radius is not positive or another number is not finite.
   */
  constructor(model: PhysicsModel, data: PhysicsData, options: ReachOptions = {}) {
    this.#options = { ...REACH_DEFAULTS, ...options };
    for (const [name, value] of Object.entries(this.#options)) {
      if (!Number.isFinite(value)) {
        throw new RangeError(`Cannot set up reach: ${name} is ${value}, expected a number`);
      }
    }
    if (this.#options.successRadiusM <= 0) {
      throw new RangeError(
        `Cannot set up reach: successRadiusM is ${this.#options.successRadiusM} m, expected > 0`,
      );
    }
    const { boxMarginM } = this.#options;
    // At most the 12 cm between the box's lower face and the table, less the ball's radius.
    if (boxMarginM < -0.05 || boxMarginM > 0.1) {
      throw new RangeError(
        `Cannot set up reach: boxMarginM is ${boxMarginM} m, expected -0.05 to 0.1 m`,
      );
    }
    this.#data = data;
    this.#pinchSite = model.id("site", "left_pinch");
    const mocapIds = model.arrays.bodyMocap;
    this.#ball = mocapIds[model.id("body", "ball")];
    this.#shadow = mocapIds[model.id("body", "ball_shadow")];
  }

  /** The ball's centre in the world, in metres. */
  get target(): [number, number, number] {
    const { mocapPos } = this.#data.views;
    const at = 3 * this.#ball;
    return [mocapPos[at], mocapPos[at + 1], mocapPos[at + 2]];
  }

  /** Distance between the pinch point and the ball's centre, in metres. Poses must be up to date. */
  get distanceM(): number {
    const { mocapPos, siteXpos } = this.#data.views;
    const a = 3 * this.#ball, b = 3 * this.#pinchSite;
    return Math.hypot(
      siteXpos[b] - mocapPos[a],
      siteXpos[b + 1] - mocapPos[a + 1],
      siteXpos[b + 2] - mocapPos[a + 2],
    );
  }

  /** Put the ball uniformly into {@link REACH_BOX_M} and its margin. */
  place(random: RandomSource): void {
    const { min, max } = REACH_BOX_M;
    const margin = this.#options.boxMarginM;
    const along = (k: number) => uniform(random, min[k] - margin, max[k] + margin);
    this.moveTarget([along(0), along(1), along(2)]);
  }

  /**
   * Put the ball somewhere else, and its shadow on the table below it.
   *
   * @param position The ball's centre in the world, in metres.
   */
  moveTarget(position: readonly [number, number, number]): void {
    const { mocapPos } = this.#data.views;
    mocapPos.set(position, 3 * this.#ball);
    mocapPos.set([position[0], position[1], BALL_RADIUS_M / 60], 3 * this.#shadow);
  }

  /** Remember the distance at the start. */
  begin(): void {
    this.#distanceM = this.distanceM;
  }

  /** Reward progress since the last step; succeed inside the radius. */
  score(): TaskScore {
    const { successRadiusM, progressScale, successBonus, timePenalty } = this.#options;
    const now = this.distanceM;
    const progress = progressScale * (this.#distanceM - now);
    this.#distanceM = now;
    const isSuccess = now <= successRadiusM;
    return { reward: progress - timePenalty + (isSuccess ? successBonus : 0), isSuccess };
  }
}

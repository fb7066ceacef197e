/**
 * `transfer_cube`: the right arm picks a cube up and hands it to the left arm.
 *
 * The reward of **every** step is the stage that holds at its end, as in huggingface/gym-aloha
 * (`TransferCubeTask.get_reward`): 0 nothing, 1 the right gripper touches the cube, 2 and it is off
 * the table, 3 the left gripper touches it, 4 and it is off the table. Stage 4 is success and ends
 * the episode. So the sum over an episode depends on how long each stage lasts: a slow transfer
 * collects more than a fast one, and holding the cube up until time is over collects most of all.
 * Compare policies by success rate or by the highest stage, and train them on `pays: "gain"`.
 *
 * gym-aloha watches one finger a gripper; here any part of the gripper counts as touching.
 *
 * @module
 */

import type { PhysicsData, PhysicsModel } from "./mujoco.ts";
import { type RandomSource, uniform } from "../../common/random.ts";
import { CUBE_HALF_SIZE_M } from "./scene.ts";
import { TASK_PROMPTS } from "./task_names.ts";
import type { Task, TaskScore } from "./tasks.ts";

/** Where the cube's centre may start on the table, in metres. */
export const CUBE_START_M = {
  min: [0.05, -0.12],
  max: [0.2, 0.08],
} as const;

/** Turn of the cube about the vertical at the start: up to this much either way, in rad. */
export const CUBE_START_YAW_RAD = Math.PI / 8;

/** Settings of {@link TransferCubeTask}. */
export interface TransferCubeOptions {
  /**
   * What a control step earns. `stage`, the default, is gym-aloha's: the stage itself, at every step.
   * `gain`: by how much the highest stage so far has risen, so that an episode's sum is its highest
   * stage, however long that took.
   */
  readonly pays?: "stage" | "gain";
}

/** Highest stage, which is success. */
export const MAX_STAGE = 4;

/** See the module. */
export class TransferCubeTask implements Task {
  /** Which task. */
  readonly name = "transfer_cube";
  /** The task in words. */
  readonly prompt: string = TASK_PROMPTS.transfer_cube;
  readonly #data: PhysicsData;
  readonly #cubeQpos: number;
  readonly #leftTouch: number;
  readonly #rightTouch: number;
  readonly #tableTouch: number;
  readonly #pays: "stage" | "gain";
  #highestStage = 0;

  /**
   * Set the task up.
   *
   * @param model The scene of `transfer_cube`.
   * @param data Its state.
   * @param options Settings.
   */
  constructor(model: PhysicsModel, data: PhysicsData, options: TransferCubeOptions = {}) {
    this.#data = data;
    this.#pays = options.pays ?? "stage";
    this.#cubeQpos = model.arrays.jointQpos[model.id("joint", "cube")];
    const addresses = model.arrays.sensorAddress;
    this.#leftTouch = addresses[model.id("sensor", "left_touch")];
    this.#rightTouch = addresses[model.id("sensor", "right_touch")];
    this.#tableTouch = addresses[model.id("sensor", "table_touch")];
  }

  /** The cube's centre in the world, in metres. */
  get cubePosition(): [number, number, number] {
    const { qpos } = this.#data.views;
    const at = this.#cubeQpos;
    return [qpos[at], qpos[at + 1], qpos[at + 2]];
  }

  /** The cube's turn about the vertical, in rad. */
  get cubeYawRad(): number {
    const { qpos } = this.#data.views;
    const [w, x, y, z] = qpos.subarray(this.#cubeQpos + 3, this.#cubeQpos + 7);
    return Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z));
  }

  /** Stage that holds now, 0–4. */
  get stage(): number {
    const { sensors } = this.#data.views;
    const isOnTable = sensors[this.#tableTouch] > 0;
    if (sensors[this.#leftTouch] > 0) return isOnTable ? 3 : 4;
    if (sensors[this.#rightTouch] > 0) return isOnTable ? 1 : 2;
    return 0;
  }

  /** Put the cube on the table, within {@link CUBE_START_M}. */
  place(random: RandomSource): void {
    const { min, max } = CUBE_START_M;
    const x = uniform(random, min[0], max[0]);
    const y = uniform(random, min[1], max[1]);
    const yaw = uniform(random, -CUBE_START_YAW_RAD, CUBE_START_YAW_RAD);
    const { qpos } = this.#data.views;
    qpos.set(
      [x, y, CUBE_HALF_SIZE_M, Math.cos(yaw / 2), 0, 0, Math.sin(yaw / 2)],
      this.#cubeQpos,
    );
  }

  /** No stage is reached yet; one that holds from the start is no gain. */
  begin(): void {
    this.#highestStage = this.stage;
  }

  /** Stage 4 is success. The reward is what {@link TransferCubeOptions} says. */
  score(): TaskScore {
    const stage = this.stage;
    const gain = Math.max(0, stage - this.#highestStage);
    this.#highestStage += gain;
    return { reward: this.#pays === "gain" ? gain : stage, isSuccess: stage === MAX_STAGE };
  }
}

/**
 * A simulated scene around arms that are moved elsewhere, such as by emulated servos: pictures, contacts
 * and rewards come from what the arms truly did, not from what they were told.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_NAMES,
  JOINTS_PER_ARM,
  resetState,
  STATE_NAMES,
} from "../../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../../common/random.ts";
import {
  CAMERA_NAMES,
  type CameraName,
  type RgbImage,
  type StepOutcome,
} from "../../../common/types.ts";
import type { CameraView } from "../../camera/camera_set.ts";
import { PhysicsData } from "../../sim/mujoco.ts";
import type { Renderer } from "../../sim/renderer.ts";
import { SharedScene } from "../../sim/shared_scene.ts";
import { DEFAULT_EPISODE_STEPS, type TaskName } from "../../sim/task_names.ts";
import { createTask, type Task, type TaskOptions } from "../../sim/tasks.ts";
import type { EpisodeWorld } from "./episode_world.ts";
import { FollowedArms } from "./followed_arms.ts";

/** Both grippers start open, as those of the simulated robot. */
const START_GRIPPER = 1;

/** Settings of a {@link SceneWorld}. */
export interface SceneWorldOptions extends TaskOptions {
  /** What to do. */
  readonly task: TaskName;
  /** Width and height of the pictures, 1–4096 pixels. Default 224. */
  readonly imageSize?: number;
  /** Control steps after which an episode is cut off. Default 100 (reach), 400 (transfer_cube). */
  readonly maxEpisodeSteps?: number;
  /** The controller's clock in ms, for the pictures' time stamps; default `performance.now`. */
  readonly now?: () => number;
}

/** One scene with its task. Create it with {@link SceneWorld.create}. */
export class SceneWorld implements EpisodeWorld {
  /** The task and its objects. */
  readonly task: Task;
  /** Control steps after which an episode is cut off. */
  readonly maxEpisodeSteps: number;
  /** The physical state, for tests. */
  readonly data: PhysicsData;
  readonly #scene: SharedScene;
  readonly #renderer: Renderer;
  readonly #arms: FollowedArms;
  readonly #now: () => number;
  #steps = 0;
  #hasEnded = true;
  #isDisposed = false;

  private constructor(scene: SharedScene, options: SceneWorldOptions) {
    const { task, imageSize = 224, maxEpisodeSteps = DEFAULT_EPISODE_STEPS[task] } = options;
    if (!Number.isInteger(maxEpisodeSteps) || maxEpisodeSteps < 1) {
      throw new RangeError(
        `Cannot set up the scene: maxEpisodeSteps is ${maxEpisodeSteps}, expected an integer of 1 or more`,
      );
    }
    this.#renderer = scene.renderer(imageSize);
    this.#scene = scene;
    this.maxEpisodeSteps = maxEpisodeSteps;
    this.#now = options.now ?? (() => performance.now());
    this.data = new PhysicsData(scene.model);
    try {
      this.task = createTask(task, scene.model, this.data, options);
      this.#arms = new FollowedArms(this.data, touchSensors(task, scene));
      this.#place(0, resetState(START_GRIPPER));
    } catch (error) {
      this.data[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Load MuJoCo (once a process), compile the task's scene (once a task) and put its objects where seed
   * 0 has them.
   *
   * @param options Settings.
   * @returns The world, whose first episode has not begun; dispose of it.
   * @throws {RangeError} A setting is out of range.
   */
  static async create(options: SceneWorldOptions): Promise<SceneWorld> {
    const scene = await SharedScene.open(options.task);
    try {
      return new SceneWorld(scene, options);
    } catch (error) {
      scene[Symbol.dispose]();
      throw error;
    }
  }

  /** The task in words, for the policy. */
  get prompt(): string {
    return this.task.prompt;
  }

  /** Control steps since the episode began. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * Put the task's objects where the simulated robot would have them for the same seed.
   *
   * @param seed An integer; the same one gives the same places.
   * @param signal Nothing here waits: it matters only when it is aborted already.
   * @param measured Where the arms stand `[14]`; default the reset pose with open grippers.
   * @throws {RangeError} The seed is not an integer, or a measured number is not finite.
   */
  begin(seed: number, signal: AbortSignal, measured?: ArrayLike<number>): Promise<void> {
    return Promise.try(() => {
      signal.throwIfAborted();
      const pose = measured ?? resetState(START_GRIPPER);
      checkMeasured(pose);
      this.#place(seed, pose);
      this.#steps = 0;
      this.#hasEnded = false;
    });
  }

  /**
   * Follow the arms for 20 ms and score what came of it. Success is terminal; the step budget truncates.
   *
   * @param measured Where the arms are now `[14]`: rad, grippers 0–1.
   * @returns What the task says.
   * @throws {RangeError} There are not 14 finite numbers. Nothing moves.
   * @throws {Error} No episode is running.
   */
  onStep(measured: ArrayLike<number>): StepOutcome {
    checkMeasured(measured);
    if (this.#hasEnded) {
      throw new Error(
        `Cannot follow the arms: no episode is running after ${this.#steps} steps; begin one first`,
      );
    }
    this.#arms.advance(measured);
    this.data.updatePoses();
    this.#steps++;
    const { reward, isSuccess } = this.task.score();
    const isTruncated = !isSuccess && this.#steps >= this.maxEpisodeSteps;
    this.#hasEnded = isSuccess || isTruncated;
    return { reward, isTerminal: isSuccess, isTruncated, isSuccess };
  }

  /** Render the three cameras now. */
  observe(): CameraView {
    const nowMs = this.#now();
    return {
      kind: "pictures",
      images: {
        cam_high: this.#render("cam_high"),
        cam_left_wrist: this.#render("cam_left_wrist"),
        cam_right_wrist: this.#render("cam_right_wrist"),
      },
      capturedMs: { cam_high: nowMs, cam_left_wrist: nowMs, cam_right_wrist: nowMs },
    };
  }

  /** Free the state, and the scene if nobody else uses it. */
  [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isDisposed) {
      this.#isDisposed = true;
      this.#hasEnded = true;
      this.data[Symbol.dispose]();
      this.#scene[Symbol.dispose]();
    }
    return Promise.resolve();
  }

  #place(seed: number, pose: ArrayLike<number>): void {
    const random = seededRandom(seed);
    this.data.reset();
    this.#arms.place(pose);
    // The simulated robot draws the noise of its joints first: without it objects would be elsewhere.
    for (let i = 0; i < ARM_NAMES.length * JOINTS_PER_ARM; i++) uniform(random, -1, 1);
    this.task.place(random);
    this.data.forward();
    this.task.begin();
  }

  #render(camera: CameraName): RgbImage {
    const { size } = this.#renderer;
    const id = this.#scene.cameraIds[CAMERA_NAMES.indexOf(camera)];
    return { width: size, height: size, data: this.#renderer.render(this.data, id) };
  }
}

/** Where in the scene's sensors each gripper says whether it touches the cube. */
function touchSensors(task: TaskName, { model }: SharedScene): readonly number[] {
  if (task !== "transfer_cube") return [];
  return ARM_NAMES.map((arm) => model.arrays.sensorAddress[model.id("sensor", `${arm}_touch`)]);
}

function checkMeasured(measured: ArrayLike<number>): void {
  if (measured.length !== ALOHA_DIM) {
    throw new RangeError(
      `Cannot follow the arms: ${measured.length} numbers were measured, expected ${ALOHA_DIM}`,
    );
  }
  for (let i = 0; i < ALOHA_DIM; i++) {
    if (Number.isFinite(measured[i])) continue;
    throw new RangeError(
      `Cannot follow the arms: ${STATE_NAMES[i]} was measured as ${measured[i]}, expected a number`,
    );
  }
}

/**
 * ALOHA simulated in MuJoCo, behind the same interface as the real robot.
 *
 * Every method exists in a synchronous form too, because one process steps many environments in
 * turn. A control step is ten physics steps of 2 ms and allocates nothing but its outcome.
 *
 * Joints are driven by position servos with the real gains and no gravity compensation, so an arm
 * rests a few hundredths of a rad below its target, as the real one does. To hold still, repeat the
 * last action; commanding the measured state again and again lets the arm sink.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_DIM,
  ARM_NAMES,
  checkAction,
  clipAction,
  JOINTS_PER_ARM,
  resetState,
} from "../../common/robot/aloha.ts";
import {
  CAMERA_NAMES,
  type CameraName,
  type Observation,
  type RgbImage,
  type Robot,
  type StepOutcome,
} from "../../common/types.ts";
import { fingerToGripper, gripperToFingerM } from "../kinematics/arm_geometry.ts";
import { PhysicsData } from "./mujoco.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import type { Renderer } from "./renderer.ts";
import { SUBSTEPS } from "./scene.ts";
import { SharedScene } from "./shared_scene.ts";
import { DEFAULT_EPISODE_STEPS, type TaskName } from "./task_names.ts";
import { createTask, type Task, type TaskOptions } from "./tasks.ts";

/** Settings of {@link SimulatedAloha}. */
export interface SimulationOptions extends TaskOptions {
  /** What to do. */
  readonly task: TaskName;
  /** Width and height at which the cameras are rendered, 1–4096 pixels. Default 224. */
  readonly imageSize?: number;
  /** Control steps after which an episode is cut off. Default 100 (reach), 400 (transfer_cube). */
  readonly maxEpisodeSteps?: number;
  /**
   * 14: actions drive both arms. 7: actions drive the left arm, the right one holds its reset pose;
   * an action may then also have 14 numbers, whose last 7 are not used. Default 14.
   */
  readonly actionDim?: 7 | 14;
  /** Joints start within ± this of the reset pose, uniformly, in rad. Default 0. */
  readonly startNoiseRad?: number;
}

/** Joints and fingers of one arm in MuJoCo's arrays: servo, position and velocity `8·arm + i`. */
export const SERVOS_PER_ARM: number = JOINTS_PER_ARM + 2;

/** Both grippers start open, in sight of the wrist cameras. */
const START_GRIPPER = 1;

/** One simulated robot with its task. Create it with {@link SimulatedAloha.create}. */
export class SimulatedAloha implements Robot {
  /** The task and its objects. */
  readonly task: Task;
  /** Numbers of an action that are used: 7 (left arm) or 14. */
  readonly actionDim: 7 | 14;
  /** Control steps after which an episode is cut off. */
  readonly maxEpisodeSteps: number;
  /** The physical state, for demonstrators and tests. */
  readonly data: PhysicsData;
  readonly #scene: SharedScene;
  readonly #renderer: Renderer;
  readonly #startNoiseRad: number;
  readonly #command = new Float64Array(ALOHA_DIM);
  #isDisposed = false;
  #steps = 0;
  #clips = 0;
  #isSuccess = false;
  #hasEnded = true;

  private constructor(scene: SharedScene, options: SimulationOptions) {
    const {
      task,
      imageSize = 224,
      maxEpisodeSteps = DEFAULT_EPISODE_STEPS[task],
      actionDim = ALOHA_DIM,
      startNoiseRad = 0,
    } = options;
    if (!Number.isInteger(maxEpisodeSteps) || maxEpisodeSteps < 1) {
      throw new RangeError(
        `Cannot simulate: maxEpisodeSteps is ${maxEpisodeSteps}, expected an integer of 1 or more`,
      );
    }
    if (actionDim !== ARM_DIM && actionDim !== ALOHA_DIM) {
      throw new RangeError(`Cannot simulate: actionDim is ${actionDim}, expected 7 or 14`);
    }
    if (actionDim === ARM_DIM && task === "transfer_cube") {
      throw new RangeError(
        "Cannot simulate transfer_cube with actionDim 7: it needs both arms, 14",
      );
    }
    if (!(startNoiseRad >= 0 && startNoiseRad <= 0.3)) {
      throw new RangeError(
        `Cannot simulate: startNoiseRad is ${startNoiseRad} rad, expected 0–0.3 rad`,
      );
    }
    this.#renderer = scene.renderer(imageSize);
    this.#scene = scene;
    this.maxEpisodeSteps = maxEpisodeSteps;
    this.actionDim = actionDim;
    this.#startNoiseRad = startNoiseRad;
    this.data = new PhysicsData(scene.model);
    try {
      this.task = createTask(task, scene.model, this.data, options);
      this.resetSync(0);
    } catch (error) {
      this.data[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Load MuJoCo (once a process), compile the task's scene (once a task) and reset to seed 0.
   *
   * @param options Settings.
   * @returns The robot; dispose of it.
   * @throws {RangeError} A setting is out of range.
   */
  static async create(options: SimulationOptions): Promise<SimulatedAloha> {
    const scene = await SharedScene.open(options.task);
    try {
      return new SimulatedAloha(scene, options);
    } catch (error) {
      scene[Symbol.dispose]();
      throw error;
    }
  }

  /** Control steps since the last reset. */
  get steps(): number {
    return this.#steps;
  }

  /** Numbers of actions that were out of range since the last reset, and were clipped. */
  get clipCount(): number {
    return this.#clips;
  }

  /** The episode is over: only a reset may follow. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** See {@link SimulatedAloha.resetSync}. */
  reset(seed: number): Promise<void> {
    return Promise.try(() => this.resetSync(seed));
  }

  /** See {@link SimulatedAloha.observeSync}. */
  observe(): Promise<Observation> {
    return Promise.try(() => this.observeSync());
  }

  /** See {@link SimulatedAloha.stepSync}. */
  step(action: Float32Array): Promise<StepOutcome> {
    return Promise.try(() => this.stepSync(action));
  }

  /**
   * Start an episode: arms at the reset pose at rest, grippers open, the task's objects at random.
   *
   * @param seed An integer; the same one gives the same start.
   * @throws {RangeError} The seed is not an integer.
   */
  resetSync(seed: number): void {
    const random = seededRandom(seed);
    this.data.reset();
    this.#command.set(resetState(START_GRIPPER));
    this.#writeServos(this.data.views.ctrl);
    const { qpos } = this.data.views;
    this.#writeServos(qpos);
    // The noise is drawn even at 0 rad, so that it does not change where a seed puts the objects.
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      for (let joint = 0; joint < JOINTS_PER_ARM; joint++) {
        qpos[arm * SERVOS_PER_ARM + joint] += this.#startNoiseRad * uniform(random, -1, 1);
      }
    }
    this.task.place(random);
    this.data.forward();
    this.task.begin();
    this.#steps = 0;
    this.#clips = 0;
    this.#isSuccess = false;
    this.#hasEnded = false;
  }

  /**
   * Read ALOHA's 14 numbers.
   *
   * @param out Receives them.
   * @returns `out`: per arm 6 joints (rad) and the gripper (0 closed – 1 open), left first.
   */
  readState(out: Float32Array = new Float32Array(ALOHA_DIM)): Float32Array {
    const { qpos } = this.data.views;
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      const from = arm * SERVOS_PER_ARM, to = arm * ARM_DIM;
      for (let joint = 0; joint < JOINTS_PER_ARM; joint++) out[to + joint] = qpos[from + joint];
      const finger = (qpos[from + JOINTS_PER_ARM] + qpos[from + JOINTS_PER_ARM + 1]) / 2;
      out[to + JOINTS_PER_ARM] = Math.min(1, Math.max(0, fingerToGripper(finger)));
    }
    return out;
  }

  /**
   * Render one camera.
   *
   * @param camera Which one.
   * @returns A fresh picture.
   */
  renderCamera(camera: CameraName): RgbImage {
    const { size } = this.#renderer;
    const id = this.#scene.cameraIds[CAMERA_NAMES.indexOf(camera)];
    return { width: size, height: size, data: this.#renderer.render(this.data, id) };
  }

  /**
   * Render the cameras and read the joints.
   *
   * @returns Fresh arrays that later steps leave alone.
   */
  observeSync(): Observation {
    return {
      images: {
        cam_high: this.renderCamera("cam_high"),
        cam_left_wrist: this.renderCamera("cam_left_wrist"),
        cam_right_wrist: this.renderCamera("cam_right_wrist"),
      },
      state: this.readState(),
      prompt: this.task.prompt,
    };
  }

  /**
   * Drive the servos towards an action for 20 ms.
   *
   * @param action Absolute targets in rad, grippers 0–1. Targets out of range are clipped and
   * counted in {@link SimulatedAloha.clipCount}.
   * @returns What the task says. Success is terminal; the step budget truncates.
   * @throws {RangeError} The action has a wrong length or a number that is not finite. Nothing moves.
   * @throws {Error} The episode has ended.
   */
  stepSync(action: ArrayLike<number>): StepOutcome {
    const isWhole = action.length === ALOHA_DIM;
    checkAction(action, isWhole ? ALOHA_DIM : this.actionDim);
    if (this.#hasEnded) {
      throw new Error(`Cannot step: the episode ended after ${this.#steps} steps; reset first`);
    }
    if (isWhole && this.actionDim === ARM_DIM) {
      for (let i = 0; i < ARM_DIM; i++) this.#command[i] = action[i];
      this.#clips += clipAction(this.#command.subarray(0, ARM_DIM), this.#command);
    } else {
      this.#clips += clipAction(action, this.#command);
    }
    this.#writeServos(this.data.views.ctrl);
    this.data.step(SUBSTEPS);
    this.data.updatePoses();
    this.#steps++;
    const { reward, isSuccess } = this.task.score();
    this.#isSuccess ||= isSuccess;
    const isTruncated = !isSuccess && this.#steps >= this.maxEpisodeSteps;
    this.#hasEnded = isSuccess || isTruncated;
    return { reward, isTerminal: isSuccess, isTruncated, isSuccess: this.#isSuccess };
  }

  /** Free the state, and the scene if nobody else uses it. */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#hasEnded = true;
    this.data[Symbol.dispose]();
    this.#scene[Symbol.dispose]();
  }

  /** Spread the 14 numbers over MuJoCo's 16 servos: a gripper is two fingers. */
  #writeServos(out: Float64Array): void {
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      const from = arm * ARM_DIM, to = arm * SERVOS_PER_ARM;
      for (let joint = 0; joint < JOINTS_PER_ARM; joint++) {
        out[to + joint] = this.#command[from + joint];
      }
      const fingerM = gripperToFingerM(this.#command[from + JOINTS_PER_ARM]);
      out[to + JOINTS_PER_ARM] = fingerM;
      out[to + JOINTS_PER_ARM + 1] = fingerM;
    }
  }
}

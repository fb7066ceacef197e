/**
 * Demonstrates `transfer_cube`: the right arm looks from above, picks the cube up and holds it out level;
 * the left arm takes it with its fingers turned by 90 degrees, so that the grippers do not meet.
 *
 * @module
 */

import { type ArmName, JOINTS_PER_ARM, RESET_POSE_RAD } from "../../common/robot/aloha.ts";
import { SERVOS_PER_ARM, type SimulatedAloha } from "./aloha_sim.ts";
import type { Vec3 } from "../kinematics/arm_geometry.ts";
import type { Demonstrator, DemonstratorOptions } from "./demonstrator.ts";
import { type IkGoal, solveIk } from "./ik.ts";
import { normal } from "../../common/random.ts";
import { checkRange, JointMotion } from "./joint_motion.ts";
import { CUBE_START_M, type TransferCubeTask } from "./transfer_cube_task.ts";

/** Where the cube changes hands, in the world, in metres. */
const MEETING_POINT: Vec3 = [0, -0.019, 0.3];

/** How far the left gripper waits from the cube before it takes it, in metres. */
const STANDOFF_M = 0.1;

/**
 * From where the right wrist's camera looks for the cube, in the world, in metres: over the middle of
 * where it may lie. Always the same place, so that what follows is in the pictures alone and not in
 * the joints, from which a policy that imitates would guess it otherwise.
 */
const LOOKOUT: Vec3 = [
  (CUBE_START_M.min[0] + CUBE_START_M.max[0]) / 2,
  (CUBE_START_M.min[1] + CUBE_START_M.max[1]) / 2,
  0.17,
];

/** Height over the cube's centre from which the right gripper comes down, in metres. */
const HOVER_M = 0.05;

/** How far it lifts the cube before it turns to the meeting point, in metres. */
const LIFT_M = 0.1;

/** The pinch point's height when it grasps: clear of the table by the fingers' 15 mm beyond it. */
const GRASP_HEIGHT_M = 0.028;

/** A closed gripper stops at the cube (0.51); commanding less presses with about 14 N. */
const GRASP = 0.3;

/** Mean number of control steps between two pushes. */
const PUSH_INTERVAL = 8;

/** Part of the plan: set goals when it begins, wait until they are reached, then dwell. */
interface Phase {
  /** Sets the goals. */
  begin(): void;
  /** Control steps to wait once the path has ended. */
  readonly dwellSteps: number;
}

/** What of the options this demonstrator itself looks after. */
type FlawOptions = Pick<
  DemonstratorOptions,
  "waypointNoiseM" | "pushRadS" | "graspBiasM" | "graspBiasShare" | "random"
>;

/** See the module. */
export class TransferCubeDemonstrator implements Demonstrator {
  readonly #robot: SimulatedAloha;
  readonly #task: TransferCubeTask;
  readonly #motion: JointMotion;
  readonly #phases: readonly Phase[];
  readonly #speed: number;
  readonly #options: Required<FlawOptions>;
  #graspHeightM = GRASP_HEIGHT_M;
  /** Last goals, from which the next inverse kinematics start. */
  #joints: Record<ArmName, ArrayLike<number>> = { left: RESET_POSE_RAD, right: RESET_POSE_RAD };
  #phase = -1;
  #dwell = 0;

  /**
   * Prepare to demonstrate.
   *
   * @param robot The robot.
   * @param task Its task.
   * @param options How good or bad it is.
   * @throws {RangeError} An option is out of range.
   */
  constructor(robot: SimulatedAloha, task: TransferCubeTask, options: DemonstratorOptions = {}) {
    this.#task = task;
    this.#speed = options.speed ?? 1;
    this.#motion = new JointMotion(robot, ["left", "right"], options);
    const { waypointNoiseM = 0, pushRadS = 0, random } = options;
    const { graspBiasM = 0, graspBiasShare = 1 } = options;
    checkRange("waypointNoiseM", waypointNoiseM, 0, 0.1);
    checkRange("pushRadS", pushRadS, 0, 10);
    checkRange("graspBiasM", graspBiasM, -0.01, 0.1);
    checkRange("graspBiasShare", graspBiasShare, 0, 1);
    const isRandom = waypointNoiseM > 0 || pushRadS > 0 || graspBiasShare > 0 && graspBiasShare < 1;
    if (isRandom && random === undefined) {
      throw new RangeError(
        `Cannot demonstrate with waypointNoiseM ${waypointNoiseM} m, pushRadS ${pushRadS} rad/s and ` +
          `graspBiasShare ${graspBiasShare}: pass a random source`,
      );
    }
    this.#robot = robot;
    this.#options = {
      waypointNoiseM,
      pushRadS,
      graspBiasM,
      graspBiasShare,
      random: random ?? (() => 0),
    };
    this.#phases = this.#plan();
  }

  /** Begin with the first phase. */
  reset(): void {
    this.#joints = { left: RESET_POSE_RAD, right: RESET_POSE_RAD };
    const { graspBiasM, graspBiasShare, random } = this.#options;
    const isBiased = graspBiasShare === 1 || graspBiasShare > 0 && random() < graspBiasShare;
    this.#graspHeightM = GRASP_HEIGHT_M + (isBiased ? graspBiasM : 0);
    this.#motion.reset();
    this.#enter(0);
  }

  /** The next point of the path; enters the next phase when this one is over. */
  act(): Float32Array {
    const isThere = this.#motion.remainingRad("left") === 0 &&
      this.#motion.remainingRad("right") === 0;
    if (isThere && this.#dwell-- <= 0 && this.#phase < this.#phases.length - 1) {
      this.#enter(this.#phase + 1);
    }
    this.#push();
    return this.#motion.advance();
  }

  /** One step in {@link PUSH_INTERVAL}, every joint is jolted; the servos bring it back. */
  #push(): void {
    const { pushRadS, random } = this.#options;
    if (pushRadS === 0 || random() * PUSH_INTERVAL >= 1) return;
    const { qvel } = this.#robot.data.views;
    for (let arm = 0; arm < 2; arm++) {
      for (let j = 0; j < JOINTS_PER_ARM; j++) {
        qvel[arm * SERVOS_PER_ARM + j] += pushRadS * normal(random);
      }
    }
  }

  #enter(phase: number): void {
    this.#phase = phase;
    this.#dwell = Math.round(this.#phases[phase].dwellSteps / this.#speed);
    this.#phases[phase].begin();
  }

  #move(arm: ArmName, goal: IkGoal): void {
    this.#joints[arm] = solveIk(arm, goal, this.#joints[arm]).joints;
    this.#motion.moveArm(arm, this.#joints[arm]);
  }

  /** Where the left gripper reaches: for the cube, or where it should be if the right one lost it. */
  #heldCube(): Vec3 {
    const cube = this.#task.cubePosition;
    const offM = Math.hypot(...cube.map((x, k) => x - MEETING_POINT[k]));
    return offM < STANDOFF_M ? cube : MEETING_POINT;
  }

  #plan(): Phase[] {
    const down: Vec3 = [0, 0, -1];
    const overCube = (height: number): IkGoal => {
      const [x, y] = this.#task.cubePosition;
      const yaw = this.#task.cubeYawRad;
      return {
        position: [x, y, height],
        approach: down,
        opening: [-Math.sin(yaw), Math.cos(yaw), 0],
      };
    };
    const near = (goal: IkGoal): IkGoal => {
      const [x, y, z] = goal.position;
      const { waypointNoiseM, random } = this.#options;
      if (waypointNoiseM === 0) return goal;
      const off = () => waypointNoiseM * normal(random);
      return { ...goal, position: [x + off(), y + off(), z + off()] };
    };
    const [mx, my, mz] = MEETING_POINT;
    const leftTo = (position: Vec3): IkGoal => ({
      position,
      approach: [1, 0, 0],
      opening: [0, 0, 1],
    });
    return [
      {
        begin: () => {
          this.#motion.setGripper("right", 1);
          this.#motion.setGripper("left", 1);
          this.#move("right", near({ position: LOOKOUT, approach: down, opening: [0, 1, 0] }));
        },
        dwellSteps: 5,
      },
      { begin: () => this.#move("right", overCube(GRASP_HEIGHT_M + HOVER_M)), dwellSteps: 0 },
      { begin: () => this.#move("right", overCube(this.#graspHeightM)), dwellSteps: 10 },
      { begin: () => this.#motion.setGripper("right", GRASP), dwellSteps: 20 },
      { begin: () => this.#move("right", near(overCube(GRASP_HEIGHT_M + LIFT_M))), dwellSteps: 0 },
      {
        begin: () => {
          this.#move(
            "right",
            near({ position: MEETING_POINT, approach: [-1, 0, 0], opening: [0, 1, 0] }),
          );
          this.#move("left", near(leftTo([mx - STANDOFF_M, my, mz])));
        },
        dwellSteps: 15,
      },
      { begin: () => this.#move("left", leftTo(this.#heldCube())), dwellSteps: 10 },
      { begin: () => this.#motion.setGripper("left", GRASP), dwellSteps: 20 },
      { begin: () => this.#motion.setGripper("right", 1), dwellSteps: 15 },
      {
        begin: () => {
          this.#move("right", {
            position: [mx + 2 * STANDOFF_M, my, mz],
            approach: [-1, 0, 0],
            opening: [0, 1, 0],
          });
          this.#move("left", leftTo([mx - STANDOFF_M, my, mz]));
        },
        dwellSteps: 0,
      },
    ];
  }
}

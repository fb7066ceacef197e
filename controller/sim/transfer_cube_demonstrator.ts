/**
 * Demonstrates `transfer_cube`: the right arm picks the cube up and holds it out level; the left arm
 * takes it with its fingers turned by 90 degrees, so that the grippers do not meet.
 *
 * It has no memory but the line that it is moving along: what it does next follows from what the
 * simulation is like now ({@link decide}). So it can show what to do from anywhere, be it that the
 * cube was pushed, lost or dropped, and a policy that sees one moment at a time can imitate it: with a
 * script that waits for its own clock, it would have to guess.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_NAMES,
  type ArmName,
  armOffset,
  CONTROL_RATE_HZ,
  JOINT_RANGES_RAD,
  JOINTS_PER_ARM,
  RESET_POSE_RAD,
} from "../../common/robot/aloha.ts";
import { LINKS, type Vec3 } from "../kinematics/arm_geometry.ts";
import { SERVOS_PER_ARM, type SimulatedAloha } from "./aloha_sim.ts";
import type { Demonstrator, DemonstratorOptions } from "./demonstrator.ts";
import { solveIk } from "./ik.ts";
import { checkRange } from "./joint_motion.ts";
import { decide, distanceM, type Intent } from "./transfer_cube_plan.ts";
import type { TransferCubeTask } from "./transfer_cube_task.ts";

/** Speed of the fastest joint at pace 1, in rad/s. */
const SPEED_RAD_S = 1.6;

/** How far a servo is behind its command, in seconds: its damping over its gain, about. */
const SERVO_LAG_S = 0.1;

/** A goal that has moved farther than this is a new one, in metres. */
const SAME_GOAL_M = 0.01;

/** See the module. */
export class TransferCubeDemonstrator implements Demonstrator {
  readonly #robot: SimulatedAloha;
  readonly #task: TransferCubeTask;
  readonly #speedRadS: number;
  readonly #graspBiasM: number;
  readonly #state = new Float32Array(ALOHA_DIM);
  readonly #action = new Float32Array(ALOHA_DIM);
  /** Where the line through joint space begins and ends. */
  readonly #from = new Float32Array(ALOHA_DIM);
  readonly #to = new Float64Array(ALOHA_DIM);
  #stepsOnLine = 0;
  #intent: Intent | undefined;

  /**
   * Prepare to demonstrate.
   *
   * @param robot The robot.
   * @param task Its task.
   * @param options How good or bad it is.
   * @throws {RangeError} An option is out of range.
   */
  constructor(robot: SimulatedAloha, task: TransferCubeTask, options: DemonstratorOptions = {}) {
    const { speed = 1, graspBiasM = 0 } = options;
    checkRange("speed", speed, 0.1, 3);
    checkRange("graspBiasM", graspBiasM, -0.01, 0.1);
    this.#robot = robot;
    this.#task = task;
    this.#speedRadS = speed * SPEED_RAD_S;
    this.#graspBiasM = graspBiasM;
  }

  /** Begin from where the robot is now. */
  reset(): void {
    this.#intent = undefined;
  }

  /** The next point of the line, or the first of a new one. */
  act(): Float32Array {
    this.#robot.readState(this.#state);
    const { siteXpos } = this.#robot.data.views;
    const intent = decide({
      cube: this.#task.cubePosition,
      leftPinch: [siteXpos[0], siteXpos[1], siteXpos[2]],
      rightPinch: [siteXpos[3], siteXpos[4], siteXpos[5]],
      rightGripper: this.#state[armOffset("right") + JOINTS_PER_ARM],
    }, this.#graspBiasM);
    if (!isSame(intent, this.#intent)) this.#setOut(intent);
    this.#stepsOnLine++;
    for (const arm of ARM_NAMES) this.#advance(arm);
    this.#action[armOffset("left") + JOINTS_PER_ARM] = intent.leftGripper;
    this.#action[armOffset("right") + JOINTS_PER_ARM] = intent.rightGripper;
    return this.#action;
  }

  #setOut(intent: Intent): void {
    this.#intent = intent;
    this.#stepsOnLine = 0;
    this.#from.set(this.#state);
    for (const arm of ARM_NAMES) {
      // Always solved from the same pose: one place, one plan.
      this.#to.set(solveIk(arm, intent[arm], RESET_POSE_RAD).joints, armOffset(arm));
    }
  }

  /** All joints of an arm arrive together. Commands lead the servos' lag, and gravity. */
  #advance(arm: ArmName): void {
    const first = armOffset(arm), dof = ARM_NAMES.indexOf(arm) * SERVOS_PER_ARM;
    const { qfrcBias } = this.#robot.data.views;
    let lengthRad = 1e-6;
    for (let i = first; i < first + JOINTS_PER_ARM; i++) {
      lengthRad = Math.max(lengthRad, Math.abs(this.#to[i] - this.#from[i]));
    }
    const seconds = SERVO_LAG_S + this.#stepsOnLine / CONTROL_RATE_HZ;
    const share = Math.min(1, this.#speedRadS * seconds / lengthRad);
    for (let j = 0; j < JOINTS_PER_ARM; j++) {
      const i = first + j;
      const point = this.#from[i] + share * (this.#to[i] - this.#from[i]);
      const { min, max } = JOINT_RANGES_RAD[j];
      const command = point + qfrcBias[dof + j] / LINKS[j].kp;
      this.#action[i] = Math.min(max, Math.max(min, command));
    }
  }
}

function isSame(intent: Intent, before: Intent | undefined): boolean {
  const isNear = (a: Vec3, b: Vec3) => distanceM(a, b) <= SAME_GOAL_M;
  return before?.name === intent.name && isNear(intent.right.position, before.right.position) &&
    isNear(intent.left.position, before.left.position);
}

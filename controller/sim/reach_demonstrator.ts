/**
 * Demonstrates `reach`: inverse kinematics to the ball, then a straight line in joint space.
 *
 * @module
 */

import { RESET_POSE_RAD } from "../../common/robot/aloha.ts";
import type { SimulatedAloha } from "./aloha_sim.ts";
import type { Demonstrator, DemonstratorOptions } from "./demonstrator.ts";
import { solveIk } from "./ik.ts";
import { checkRange, JointMotion } from "./joint_motion.ts";
import { normal } from "../../common/random.ts";
import type { ReachTask } from "./reach_task.ts";

/** See the module. */
export class ReachDemonstrator implements Demonstrator {
  readonly #task: ReachTask;
  readonly #motion: JointMotion;
  readonly #options: DemonstratorOptions;

  /**
   * Prepare to demonstrate.
   *
   * @param robot The robot.
   * @param task Its task.
   * @param options How good or bad it is.
   * @throws {RangeError} An option is out of range.
   */
  constructor(robot: SimulatedAloha, task: ReachTask, options: DemonstratorOptions = {}) {
    const { aimNoiseM = 0, aimBiasM = 0, random } = options;
    checkRange("aimNoiseM", aimNoiseM, 0, 1);
    checkRange("aimBiasM", aimBiasM, -0.2, 0.2);
    if (aimNoiseM > 0 && random === undefined) {
      throw new RangeError(
        `Cannot demonstrate with aimNoiseM ${aimNoiseM} m: pass a random source`,
      );
    }
    this.#task = task;
    this.#options = options;
    this.#motion = new JointMotion(robot, ["left"], options);
  }

  /** Plan for the ball's place, always from the reset pose: one place, one plan. */
  reset(): void {
    const { aimNoiseM = 0, aimBiasM = 0, random } = this.#options;
    const [x, y, z] = this.#task.target;
    const off = () => aimNoiseM > 0 && random !== undefined ? aimNoiseM * normal(random) : 0;
    const goal = { position: [x + off(), y + off(), z + aimBiasM + off()] as const };
    this.#motion.reset();
    this.#motion.moveArm("left", solveIk("left", goal, RESET_POSE_RAD).joints);
  }

  /** The next point of the path. */
  act(): Float32Array {
    return this.#motion.advance();
  }
}

/**
 * Makes the arms of a simulated scene go where other arms truly went.
 *
 * The six joints of an arm are put where the measurement says, in every physics step anew: whatever
 * they touch cannot push them away. So are fingers that touch nothing; others are driven by their
 * position servos, so that they stop at what they grasp and press on it. Everything else in the scene
 * moves by physics alone.
 *
 * A measured opening tells where the fingers are, not how hard they press: around a cube, a real
 * gripper that was told to close reports the cube's width. Fingers that only went there would hold
 * little, and drop it for an error of a millimetre. So while a gripper touches something, its fingers
 * press as if they were told to close by `PRESS_M` more, or by as much as the measurement is narrower
 * than the thing, whichever is more.
 *
 * @module
 */

import { ARM_DIM, ARM_NAMES, JOINTS_PER_ARM } from "../../../common/robot/aloha.ts";
import { gripperToFingerM, LINKS } from "../../kinematics/arm_geometry.ts";
import { SERVOS_PER_ARM } from "../../sim/aloha_sim.ts";
import type { PhysicsData, PhysicsViews } from "../../sim/mujoco.ts";
import { SUBSTEPS, TIME_STEP_S } from "../../sim/scene.ts";

/**
 * How far fingers that touch something are told to go beyond where they were measured, in metres. With
 * the fingers' gain of 2000 N/m it is 14 N, what the scripted demonstrator of `transfer_cube` presses with.
 */
const PRESS_M = 0.007;

/**
 * Fastest that fingers which touch nothing are moved, in m/s: 1 mm in a physics step. Faster than the
 * gripper's servo, and slow enough that fingers which lose a cube for an instant do not jump into it.
 */
const MAX_FINGER_M_S = 0.5;

/** Both arms of one state of a scene. */
export class FollowedArms {
  readonly #data: PhysicsData;
  readonly #touchSensors: readonly number[];
  readonly #from = new Float64Array(ARM_NAMES.length * ARM_DIM);
  readonly #to = new Float64Array(ARM_NAMES.length * ARM_DIM);

  /**
   * Take the arms over.
   *
   * @param data The state.
   * @param touchSensors Where in the state's sensors each gripper, left first, says whether it touches
   * anything; none in a scene without things to grasp.
   */
  constructor(data: PhysicsData, touchSensors: readonly number[]) {
    this.#data = data;
    this.#touchSensors = touchSensors;
  }

  /**
   * Put the arms somewhere at rest, without time passing. Poses are not brought up to date.
   *
   * @param measured ALOHA's 14 numbers: rad, grippers 0–1.
   */
  place(measured: ArrayLike<number>): void {
    this.#to.set(measured);
    this.#from.set(measured);
    const { qpos, qvel, ctrl } = this.#data.views;
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      const fingerM = gripperToFingerM(measured[arm * ARM_DIM + JOINTS_PER_ARM]);
      for (let i = 0; i < SERVOS_PER_ARM; i++) {
        const at = arm * SERVOS_PER_ARM + i;
        qpos[at] = i < JOINTS_PER_ARM ? measured[arm * ARM_DIM + i] : fingerM;
        ctrl[at] = qpos[at];
        qvel[at] = 0;
      }
    }
  }

  /**
   * Let 20 ms pass, in which the arms go on a straight line in joint space. Poses lag by one physics
   * step until `updatePoses`.
   *
   * @param measured Where they are at the end, ALOHA's 14 numbers: rad, grippers 0–1.
   */
  advance(measured: ArrayLike<number>): void {
    this.#from.set(this.#to);
    this.#to.set(measured);
    for (let step = 0; step < SUBSTEPS; step++) {
      this.#moveJoints(this.#data.views, step / SUBSTEPS);
      this.#moveFingers(this.#data.views, (step + 1) / SUBSTEPS);
      this.#data.step(1);
    }
    this.#moveJoints(this.#data.views, 1);
  }

  #moveJoints({ qpos, qvel, ctrl, qfrcBias, qfrcConstraint }: PhysicsViews, share: number): void {
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      for (let j = 0; j < JOINTS_PER_ARM; j++) {
        const i = arm * ARM_DIM + j, at = arm * SERVOS_PER_ARM + j;
        const { kp, damping } = LINKS[j];
        qpos[at] = this.#along(i, share);
        qvel[at] = (this.#to[i] - this.#from[i]) / (SUBSTEPS * TIME_STEP_S);
        // Balances every other force on the joint: an arm that sank within each physics step, only to
        // be put back, would let go of what it carries, millimetre by millimetre.
        const load = qfrcBias[at] + damping * qvel[at] - qfrcConstraint[at];
        ctrl[at] = qpos[at] + load / kp;
      }
    }
  }

  /** @param share Of the control step that has passed when the physics step ends. */
  #moveFingers({ qpos, qvel, ctrl, sensors }: PhysicsViews, share: number): void {
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      const measuredM = gripperToFingerM(this.#along(arm * ARM_DIM + JOINTS_PER_ARM, share));
      const isTouching = arm < this.#touchSensors.length && sensors[this.#touchSensors[arm]] > 0;
      const first = arm * SERVOS_PER_ARM + JOINTS_PER_ARM;
      const gapM = (qpos[first] + qpos[first + 1]) / 2 - measuredM;
      // What is measured narrower than the thing is presses already.
      const pressM = isTouching ? Math.min(PRESS_M, Math.max(0, PRESS_M - gapM)) : 0;
      for (const finger of [first, first + 1]) {
        ctrl[finger] = measuredM - pressM;
        if (isTouching) continue;
        const leftM = measuredM - qpos[finger];
        const moveM = Math.min(Math.abs(leftM), MAX_FINGER_M_S * TIME_STEP_S) * Math.sign(leftM);
        qpos[finger] += moveM;
        qvel[finger] = 0;
      }
    }
  }

  #along(i: number, share: number): number {
    return this.#from[i] + share * (this.#to[i] - this.#from[i]);
  }
}

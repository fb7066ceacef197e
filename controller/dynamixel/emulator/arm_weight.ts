/**
 * The weight of an emulated arm: its joints hang below their targets as those of a real one do, whose
 * servos hold by a gain and nothing compensates gravity.
 *
 * @module
 */

import { type ArmName, JOINTS_PER_ARM } from "../../../common/robot/aloha.ts";
import { layoutOf, SERVO_LAYOUT } from "../../arms/servo_layout.ts";
import { ticksToRad } from "../../arms/units.ts";
import { gravitySagRad } from "../../kinematics/gravity.ts";
import { TICKS_PER_TURN } from "../control_table.ts";
import type { Servo } from "./servo.ts";

/** Time between two looks at the arm's pose, in ms: it moves at most a few hundredths of a rad. */
const PERIOD_MS = 10;

/** The servos of the six joints, from the base; shadows hang with their masters. */
const JOINT_SERVOS = SERVO_LAYOUT.filter(({ shadowOf, joint }) =>
  shadowOf === null && joint !== "gripper"
);

/** Loads the servos of one arm by its pose. */
export class ArmWeight {
  readonly #arm: ArmName;
  readonly #servos: ReadonlyMap<number, Servo>;
  readonly #joints = new Float64Array(JOINTS_PER_ARM);
  #appliedMs = -Infinity;

  /**
   * Look after the servos of an arm.
   *
   * @param arm Which arm.
   * @param servos Its servos; those that are not an arm's carry nothing.
   */
  constructor(arm: ArmName, servos: readonly Servo[]) {
    this.#arm = arm;
    this.#servos = new Map(servos.map((servo) => [servo.get("id"), servo]));
  }

  /** Set the loads by the pose of now. @param nowMs The servos' time. */
  apply(nowMs: number): void {
    if (nowMs - this.#appliedMs < PERIOD_MS) return;
    this.#appliedMs = nowMs;
    JOINT_SERVOS.forEach(({ id }, joint) => {
      this.#joints[joint] = ticksToRad(this.#servos.get(id)?.get("presentPosition") ?? NaN);
    });
    if (!this.#joints.every(Number.isFinite)) return;
    const sagRad = gravitySagRad(this.#arm, this.#joints);
    for (const [id, servo] of this.#servos) {
      const { shadowOf } = layoutOf(id);
      const joint = JOINT_SERVOS.findIndex((layout) => layout.id === (shadowOf ?? id));
      if (joint < 0) continue;
      servo.surround({ sagTicks: sagRad[joint] * TICKS_PER_TURN / (2 * Math.PI) });
    }
  }
}

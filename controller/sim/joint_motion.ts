/**
 * Smooth, speed-limited joint motion for scripted demonstrators, with noise on request.
 *
 * @module
 */

import {
  ALOHA_DIM,
  ARM_DIM,
  type ArmName,
  armOffset,
  CONTROL_RATE_HZ,
  JOINT_RANGES_RAD,
  JOINTS_PER_ARM,
} from "../../common/robot/aloha.ts";
import { SERVOS_PER_ARM, type SimulatedAloha } from "./aloha_sim.ts";
import { LINKS } from "../kinematics/arm_geometry.ts";
import type { DemonstratorOptions } from "./demonstrator.ts";
import { normal, type RandomSource } from "../../common/random.ts";

/** Speed of the fastest joint at pace 1, in rad/s. */
const MAX_SPEED_RAD_S = 1.6;

/** How fast that speed is built up and taken away at pace 1, in rad/s². */
const ACCELERATION_RAD_S2 = 6;

/**
 * Moves the joints of some arms along straight lines in joint space, all joints of an arm arriving
 * together. The commands lead gravity: a servo with gain kp sinks by torque/kp, which is added.
 */
export class JointMotion {
  readonly #robot: SimulatedAloha;
  readonly #arms: readonly ArmName[];
  readonly #speed: number;
  readonly #noiseRad: number;
  readonly #correlation: number;
  readonly #random: RandomSource;
  readonly #goal = new Float64Array(ALOHA_DIM);
  readonly #path = new Float64Array(ALOHA_DIM);
  readonly #speedRadS = new Float64Array(2);
  readonly #noise = new Float64Array(ALOHA_DIM);
  readonly #action = new Float32Array(ALOHA_DIM);

  /**
   * Prepare motion.
   *
   * @param robot The robot to be moved.
   * @param arms Arms that will move; the others hold where they are at {@link JointMotion.reset}.
   * @param options Pace and noise.
   * @throws {RangeError} An option is out of range.
   */
  constructor(robot: SimulatedAloha, arms: readonly ArmName[], options: DemonstratorOptions) {
    const { speed = 1, jointNoiseRad = 0, noiseCorrelation = 0.9, random } = options;
    checkRange("speed", speed, 0.1, 3);
    checkRange("jointNoiseRad", jointNoiseRad, 0, 1);
    checkRange("noiseCorrelation", noiseCorrelation, 0, 0.9999);
    if (jointNoiseRad > 0 && random === undefined) {
      throw new RangeError(
        `Cannot demonstrate with jointNoiseRad ${jointNoiseRad} rad: pass a random source`,
      );
    }
    this.#robot = robot;
    this.#arms = arms;
    this.#speed = speed;
    this.#noiseRad = jointNoiseRad;
    this.#correlation = noiseCorrelation;
    this.#random = random ?? (() => 0);
  }

  /** Start from where the robot is now, without noise so far. */
  reset(): void {
    this.#path.set(this.#robot.readState());
    this.#goal.set(this.#path);
    this.#speedRadS.fill(0);
    this.#noise.fill(0);
    if (this.#noiseRad === 0) return;
    for (let i = 0; i < ALOHA_DIM; i++) this.#noise[i] = this.#noiseRad * normal(this.#random);
  }

  /**
   * Set where an arm should go.
   *
   * @param arm Which arm.
   * @param joints Six angles, in rad.
   */
  moveArm(arm: ArmName, joints: ArrayLike<number>): void {
    for (let j = 0; j < JOINTS_PER_ARM; j++) this.#goal[armOffset(arm) + j] = joints[j];
  }

  /**
   * Go on by one control step.
   *
   * @returns 14 absolute targets, overwritten by the next call.
   */
  advance(): Float32Array {
    const action = this.#action;
    action.set(this.#path);
    const { qfrcBias } = this.#robot.data.views;
    for (const arm of this.#arms) {
      this.#advanceArm(arm);
      const from = armOffset(arm), dof = from / ARM_DIM * SERVOS_PER_ARM;
      for (let j = 0; j < JOINTS_PER_ARM; j++) {
        const i = from + j;
        const lead = qfrcBias[dof + j] / LINKS[j].kp;
        const { min, max } = JOINT_RANGES_RAD[j];
        action[i] = Math.min(max, Math.max(min, this.#path[i] + lead + this.#nextNoise(i)));
      }
    }
    return action;
  }

  /** Largest distance of a joint's path to its goal, in rad. */
  #remainingRad(arm: ArmName): number {
    const from = armOffset(arm);
    let left = 0;
    for (let i = from; i < from + JOINTS_PER_ARM; i++) {
      left = Math.max(left, Math.abs(this.#goal[i] - this.#path[i]));
    }
    return left;
  }

  #advanceArm(arm: ArmName): void {
    const from = armOffset(arm), at = from / ARM_DIM;
    const left = this.#remainingRad(arm);
    if (left === 0) {
      this.#speedRadS[at] = 0;
      return;
    }
    const acceleration = this.#speed * this.#speed * ACCELERATION_RAD_S2;
    const speed = Math.min(
      this.#speedRadS[at] + acceleration / CONTROL_RATE_HZ,
      this.#speed * MAX_SPEED_RAD_S,
      // The speed from which constant braking stops at the goal.
      Math.sqrt(2 * acceleration * left),
    );
    this.#speedRadS[at] = speed;
    // The last two milliradians are jumped: braking in whole steps would only creep up to the goal.
    const share = left < 2e-3 ? 1 : Math.min(1, speed / CONTROL_RATE_HZ / left);
    for (let i = from; i < from + JOINTS_PER_ARM; i++) {
      this.#path[i] += share * (this.#goal[i] - this.#path[i]);
    }
  }

  /** An autoregressive noise with the wanted standard deviation at every step. */
  #nextNoise(i: number): number {
    if (this.#noiseRad === 0) return 0;
    const rho = this.#correlation;
    this.#noise[i] = rho * this.#noise[i] +
      Math.sqrt(1 - rho * rho) * this.#noiseRad * normal(this.#random);
    return this.#noise[i];
  }
}

/**
 * Check a demonstrator's option.
 *
 * @param name Its name.
 * @param value Its value.
 * @param min Smallest allowed value.
 * @param max Largest allowed value.
 * @throws {RangeError} The value is outside, or not a number.
 */
export function checkRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new RangeError(`Cannot demonstrate: ${name} is ${value}, expected ${min}–${max}`);
  }
}

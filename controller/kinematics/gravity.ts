/**
 * What gravity does to an arm at rest: the torque that each joint has to hold, and how far a joint
 * driven by its servo's gain hangs below its target for it.
 *
 * @module
 */

import { type ArmName, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { FINGER, LINKS, type Vec3 } from "./arm_geometry.ts";
import { forwardKinematics } from "./kinematics.ts";

/** Standard gravity as MuJoCo has it, in m/s². */
const GRAVITY_M_S2 = 9.81;

/** A mass in the frame of the link that carries it. */
interface PointMass {
  readonly link: number;
  readonly kg: number;
  readonly at: Vec3;
}

/** The links, and both fingers together: they move apart, so that their middle stays. */
const MASSES: readonly PointMass[] = [
  ...LINKS.map(({ mass, com }, link) => ({ link, kg: mass, at: com })),
  { link: JOINTS_PER_ARM - 1, kg: 2 * FINGER.massKg, at: [FINGER.centreXM, 0, 0] },
];

/**
 * Torques that hold an arm against gravity.
 *
 * @param arm Which arm; the turn of its base about the vertical makes no difference.
 * @param joints At least six angles, in rad, from the waist to wrist_rotate.
 * @returns `[6]`, in N·m, positive where the joint must push towards larger angles.
 */
export function gravityTorques(arm: ArmName, joints: ArrayLike<number>): Float64Array {
  const { jointAxes, jointPositions, linkRotations } = forwardKinematics(arm, joints);
  const torques = new Float64Array(JOINTS_PER_ARM);
  for (const { link, kg, at } of MASSES) {
    const [x, y] = [0, 1].map((k) => {
      const row = 9 * link + 3 * k;
      return jointPositions[3 * link + k] + linkRotations[row] * at[0] +
        linkRotations[row + 1] * at[1] + linkRotations[row + 2] * at[2];
    });
    for (let joint = 0; joint <= link; joint++) {
      const from = 3 * joint;
      // The height that the mass gains per rad: the z of axis × lever.
      const climbM = jointAxes[from] * (y - jointPositions[from + 1]) -
        jointAxes[from + 1] * (x - jointPositions[from]);
      torques[joint] += kg * GRAVITY_M_S2 * climbM;
    }
  }
  return torques;
}

/**
 * How far each joint hangs from its target at rest.
 *
 * @param arm Which arm.
 * @param joints At least six angles, in rad.
 * @returns `[6]`, in rad: measured minus target.
 */
export function gravitySagRad(arm: ArmName, joints: ArrayLike<number>): Float64Array {
  return gravityTorques(arm, joints).map((torque, joint) => -torque / LINKS[joint].kp);
}

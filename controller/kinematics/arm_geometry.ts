/**
 * The simulated arm's dimensions and servo gains, said once for the scene and the kinematics.
 *
 * Lengths, ranges, gains, damping and armature are those of google-deepmind/mujoco_menagerie
 * (`aloha/aloha.xml`), a model of the ViperX 300 6DOF. Masses are its links' masses; inertia is
 * simplified to the diagonal.
 *
 * @module
 */

import type { ArmName } from "../../common/robot/aloha.ts";

/** A point or a direction, in metres or unitless. */
export type Vec3 = readonly [number, number, number];

/** One revolute link of the chain. */
export interface LinkGeometry {
  /** Joint and body name without the arm's prefix. */
  readonly name: string;
  /** Position of the joint in its parent's frame, in metres. */
  readonly offset: Vec3;
  /** Index of the rotation axis in the link's own frame: 0 x, 1 y, 2 z. */
  readonly axis: 0 | 1 | 2;
  /** Position gain, in N·m/rad. */
  readonly kp: number;
  /** Joint damping, in N·m·s/rad. */
  readonly damping: number;
  /** Reflected rotor inertia, in kg·m². */
  readonly armature: number;
  /** Largest actuator torque, in N·m. */
  readonly maxTorque: number;
  /** Mass in kg. */
  readonly mass: number;
  /** Centre of mass in the link's frame, in metres. */
  readonly com: Vec3;
  /** Diagonal of the inertia about the centre of mass in the link's frame, in kg·m². */
  readonly inertia: Vec3;
}

/** The six links from the waist to the gripper, in the order of ALOHA's joints. */
export const LINKS: readonly LinkGeometry[] = [
  {
    name: "waist",
    offset: [0, 0, 0.079],
    axis: 2,
    kp: 43,
    damping: 5.76,
    armature: 0,
    maxTorque: 35,
    mass: 0.7986,
    com: [0, 0, 0.0116],
    inertia: [0.0011, 0.0011, 0.0011],
  },
  {
    name: "shoulder",
    offset: [0, 0, 0.04805],
    axis: 1,
    kp: 265,
    damping: 20,
    armature: 0.395,
    maxTorque: 144,
    mass: 0.7926,
    com: [0.0207, 0, 0.2265],
    inertia: [0.0091, 0.0089, 0.00076],
  },
  {
    name: "elbow",
    offset: [0.05955, 0, 0.3],
    axis: 1,
    kp: 227,
    damping: 18.49,
    armature: 0.383,
    maxTorque: 59,
    mass: 0.3222,
    com: [0.1057, 0, 0],
    inertia: [0.00015, 0.0014, 0.0014],
  },
  {
    name: "forearm_roll",
    offset: [0.2, 0, 0],
    axis: 0,
    kp: 78,
    damping: 6.78,
    armature: 0.14,
    maxTorque: 22,
    mass: 0.4148,
    com: [0.0513, 0, 0],
    inertia: [0.00016, 0.00055, 0.00059],
  },
  {
    name: "wrist_angle",
    offset: [0.1, 0, 0],
    axis: 1,
    kp: 37,
    damping: 6.28,
    armature: 0.008,
    maxTorque: 35,
    mass: 0.1154,
    com: [0.0467, 0, 0],
    inertia: [0.00005, 0.00005, 0.00005],
  },
  {
    name: "wrist_rotate",
    offset: [0.069744, 0, 0],
    axis: 0,
    kp: 10.4,
    damping: 1.2,
    armature: 0,
    maxTorque: 35,
    mass: 0.673,
    com: [0.045, 0, 0.02],
    inertia: [0.0012, 0.0014, 0.0012],
  },
];

/** Where the fingers pinch, in the frame of the last link: ALOHA's `gripper` site, in metres. */
export const PINCH_OFFSET: Vec3 = [0.15, 0, 0];

/** A base's place on the table. */
export interface BasePose {
  /** Position in the world, in metres. */
  readonly position: Vec3;
  /** Rotation about the vertical, in rad. */
  readonly yawRad: number;
}

/** Bases of both arms: they face each other along x. */
export const BASE_POSES: Readonly<Record<ArmName, BasePose>> = {
  left: { position: [-0.469, -0.019, 0.02], yawRad: 0 },
  right: { position: [0.469, -0.019, 0.02], yawRad: Math.PI },
};

/** A finger's distance from the gripper's middle, in metres. */
export const FINGER = {
  /** Mechanical range of a finger. */
  jointRangeM: { min: 0, max: 0.041 },
  /** Commanded range: closed (gripper 0) and open (gripper 1). */
  commandRangeM: { min: 0.002, max: 0.037 },
  /** Mass of one finger, in kg. */
  massKg: 0.0863,
  /** Half extents of the finger's box: along the gripper, across it, and its height. */
  halfSizeM: [0.055, 0.006, 0.011],
  /** Centre of the finger's box along the gripper's axis. */
  centreXM: 0.11,
} as const;

/**
 * Finger position of a normalised gripper number.
 *
 * @param gripper 0 (closed) – 1 (open).
 * @returns Distance of either finger from the middle, in metres.
 */
export function gripperToFingerM(gripper: number): number {
  const { min, max } = FINGER.commandRangeM;
  return min + gripper * (max - min);
}

/**
 * Normalised gripper number of a finger position.
 *
 * @param fingerM Distance of the finger from the middle, in metres.
 * @returns 0 (closed) – 1 (open); a little outside when the finger is pressed past its command.
 */
export function fingerToGripper(fingerM: number): number {
  const { min, max } = FINGER.commandRangeM;
  return (fingerM - min) / (max - min);
}

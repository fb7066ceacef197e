/**
 * Both arms as capsules: what each link, palm, camera and finger can touch.
 *
 * A capsule is a segment with a radius. Dimensions follow `kinematics/arm_geometry.ts` and the shapes of
 * `sim/scene.ts`, enlarged so that every shape of the scene lies inside a capsule; the wrist camera,
 * which the scene only sees through, has the size of an Intel RealSense D405 with its mount.
 *
 * Placing runs in every control cycle, so it works in place on plain arrays; a test holds it to the
 * product of homogeneous transforms that ml-matrix makes.
 *
 * @module
 */

import { ARM_NAMES, type ArmName, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import {
  BASE_POSES,
  FINGER,
  gripperToFingerM,
  LINKS,
  type Vec3,
} from "../kinematics/arm_geometry.ts";

/** What a capsule stands for; decides which clearances hold for it. */
export type CapsuleRole = "fixed" | "arm" | "gripper" | "finger";

/** A capsule in the frame of the link that carries it. */
export interface CapsuleShape {
  /** What people call it. */
  readonly name: string;
  /** The carrying joint's number, 0 waist … 5 wrist_rotate; −1 is the base. */
  readonly link: number;
  /** What it stands for. */
  readonly role: CapsuleRole;
  /** One end of its segment, in metres. A finger's also moves along y, see `fingerSide`. */
  readonly from: Vec3;
  /** The other end, in metres. */
  readonly to: Vec3;
  /** Its radius, in metres. */
  readonly radiusM: number;
  /** 1 or −1: the direction along y in which the gripper moves it; 0: not at all. */
  readonly fingerSide: -1 | 0 | 1;
}

function capsule(
  [name, link, role]: readonly [string, number, CapsuleRole],
  from: Vec3,
  to: Vec3,
  radiusM: number,
  fingerSide: -1 | 0 | 1 = 0,
): CapsuleShape {
  return { name, link, role, from, to, radiusM, fingerSide };
}

/** Covers the finger's box, whose half diagonal across is 12.5 mm, 5 mm before its end. */
const FINGER_RADIUS_M = 0.0136;
const FINGER_FROM_X = FINGER.centreXM - FINGER.halfSizeM[0] + 0.005;
const FINGER_TO_X = FINGER.centreXM + FINGER.halfSizeM[0] - 0.005;

function finger(name: string, side: -1 | 1): CapsuleShape {
  const y = side * FINGER.halfSizeM[1];
  const what = [name, 5, "finger"] as const;
  return capsule(what, [FINGER_FROM_X, y, 0], [FINGER_TO_X, y, 0], FINGER_RADIUS_M, side);
}

/** The capsules of one arm, from the base outwards. */
export const ARM_CAPSULES: readonly CapsuleShape[] = [
  capsule(["base", -1, "fixed"], [-0.09, 0, 0.02], [0.03, 0, 0.02], 0.085),
  capsule(["shoulder tower", 0, "fixed"], [0, 0, -0.02], [0, 0, 0.048], 0.07),
  capsule(["upper arm", 1, "arm"], [0, 0, 0.02], [0.01, 0, 0.29], 0.045),
  capsule(["elbow", 1, "arm"], [0.01, 0, 0.3], [0.05955, 0, 0.3], 0.057),
  capsule(["forearm", 2, "arm"], [0, 0, 0], [0.2, 0, 0], 0.04),
  capsule(["lower forearm", 3, "arm"], [0, 0, 0], [0.1, 0, 0], 0.045),
  capsule(["wrist", 4, "arm"], [0, 0, 0], [0.07, 0, 0], 0.035),
  capsule(["palm", 5, "gripper"], [0.03, -0.03, 0], [0.03, 0.03, 0], 0.044),
  capsule(["wrist camera", 5, "gripper"], [0.02, 0, 0.04], [0.0254, 0, 0.0825], 0.03),
  finger("finger a", 1),
  finger("finger b", -1),
];

/** Capsules an arm. */
export const CAPSULES_PER_ARM: number = ARM_CAPSULES.length;

/** Numbers a placed capsule: both ends of its segment in the world, x y z x y z, in metres. */
export const CAPSULE_STRIDE = 6;

/** Capsules of both arms in the world. Reuse it: placing makes no objects. */
export interface PlacedCapsules {
  /** Segments `[2 arms, capsules, 6]`, in metres. */
  readonly segments: Float64Array;
  /** Frame of the link that was placed last: its rotation `[3, 3]`, row-major, link to world. */
  readonly rotation: Float64Array;
  /** Origin of that frame `[3]`, in metres. */
  readonly origin: Float64Array;
  /** Scratch: how far the gripper moves the point that is being placed, along y, in metres `[1]`. */
  readonly moveYM: Float64Array;
}

/** Room for the capsules of both arms. */
export function createPlacedCapsules(): PlacedCapsules {
  return {
    segments: new Float64Array(ARM_NAMES.length * CAPSULES_PER_ARM * CAPSULE_STRIDE),
    rotation: new Float64Array(9),
    origin: new Float64Array(3),
    moveYM: new Float64Array(1),
  };
}

/**
 * Put the capsules of one arm where its joints have them.
 *
 * @param arm Which arm.
 * @param joints Numbers of one or both arms: six joints in rad, then the gripper 0–1.
 * @param at Index of the arm's waist in `joints`.
 * @param out Receives the segments.
 */
export function placeCapsules(
  arm: ArmName,
  joints: ArrayLike<number>,
  at: number,
  out: PlacedCapsules,
): void {
  const { segments, rotation, origin, moveYM } = out;
  const base = BASE_POSES[arm];
  const fingerM = gripperToFingerM(joints[at + JOINTS_PER_ARM]);
  rotation.set(BASE_ROTATIONS[arm]);
  for (let k = 0; k < 3; k++) origin[k] = base.position[k];
  let next = 0;
  let offset = (arm === "left" ? 0 : CAPSULES_PER_ARM) * CAPSULE_STRIDE;
  for (let link = -1; link < JOINTS_PER_ARM; link++) {
    if (link >= 0) {
      const { offset: move, axis } = LINKS[link];
      moveYM[0] = 0;
      toWorld(out, move, origin, 0);
      turn(rotation, axis, joints, at + link);
    }
    while (next < CAPSULES_PER_ARM && ARM_CAPSULES[next].link === link) {
      const { from, to, fingerSide } = ARM_CAPSULES[next++];
      moveYM[0] = fingerSide * fingerM;
      toWorld(out, from, segments, offset);
      toWorld(out, to, segments, offset + 3);
      offset += CAPSULE_STRIDE;
    }
  }
}

/** Rotations of the bases, base to world, row-major. */
const BASE_ROTATIONS: Readonly<Record<ArmName, Float64Array>> = {
  left: yawRotation(BASE_POSES.left.yawRad),
  right: yawRotation(BASE_POSES.right.yawRad),
};

function yawRotation(yawRad: number): Float64Array {
  const rotation = Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  turn(rotation, 2, [yawRad], 0);
  return rotation;
}

// Numbers reach these two in arrays: V8 allocates for a fraction that is passed by itself.

/** Write a point of the current frame, moved along its y axis by `moveYM`, in world coordinates. */
function toWorld(
  { rotation: r, origin, moveYM }: PlacedCapsules,
  point: Vec3,
  out: Float64Array,
  at: number,
): void {
  const x = point[0], y = point[1] + moveYM[0], z = point[2];
  const ox = origin[0], oy = origin[1], oz = origin[2];
  out[at] = ox + r[0] * x + r[1] * y + r[2] * z;
  out[at + 1] = oy + r[3] * x + r[4] * y + r[5] * z;
  out[at + 2] = oz + r[6] * x + r[7] * y + r[8] * z;
}

/** Turn a frame about one of its own axes: r = r · R(axis, joints[at]). */
function turn(r: Float64Array, axis: 0 | 1 | 2, joints: ArrayLike<number>, at: number): void {
  const angleRad = joints[at];
  const cos = Math.cos(angleRad), sin = Math.sin(angleRad);
  const u = (axis + 1) % 3, v = (axis + 2) % 3;
  for (let row = 0; row < 9; row += 3) {
    const a = r[row + u], b = r[row + v];
    r[row + u] = a * cos + b * sin;
    r[row + v] = b * cos - a * sin;
  }
}

/**
 * Distance of two segments (Ericson, Real-Time Collision Detection, 5.1.9).
 *
 * @param segments Placed segments.
 * @param a Where the first one begins in `segments`.
 * @param b Where the second one begins.
 * @returns Their distance, in metres.
 */
export function segmentDistance(segments: Float64Array, a: number, b: number): number {
  const ax = segments[a], ay = segments[a + 1], az = segments[a + 2];
  const bx = segments[b], by = segments[b + 1], bz = segments[b + 2];
  const ux = segments[a + 3] - ax, uy = segments[a + 4] - ay, uz = segments[a + 5] - az;
  const vx = segments[b + 3] - bx, vy = segments[b + 4] - by, vz = segments[b + 5] - bz;
  const wx = ax - bx, wy = ay - by, wz = az - bz;
  const uu = ux * ux + uy * uy + uz * uz, vv = vx * vx + vy * vy + vz * vz;
  const uv = ux * vx + uy * vy + uz * vz;
  const uw = ux * wx + uy * wy + uz * wz, vw = vx * wx + vy * wy + vz * wz;
  const denominator = uu * vv - uv * uv;
  // Every capsule has a length, so uu and vv are never 0; parallel ones may start anywhere.
  let s = denominator > 1e-12 * uu * vv ? clampUnit((uv * vw - uw * vv) / denominator) : 0;
  let t = (uv * s + vw) / vv;
  if (t < 0) {
    t = 0;
    s = clampUnit(-uw / uu);
  } else if (t > 1) {
    t = 1;
    s = clampUnit((uv - uw) / uu);
  }
  const dx = wx + s * ux - t * vx, dy = wy + s * uy - t * vy, dz = wz + s * uz - t * vz;
  return Math.sqrt(dx * dx + dy * dy + dz * dz);
}

function clampUnit(value: number): number {
  return value < 0 ? 0 : value > 1 ? 1 : value;
}

/**
 * What to do next in `transfer_cube`, as a function of what is: no memory, no clock.
 *
 * @module
 */

import type { Vec3 } from "../kinematics/arm_geometry.ts";
import type { IkGoal } from "./ik.ts";

/** Where the cube changes hands, in the world, in metres. */
export const MEETING_POINT: Vec3 = [0, -0.019, 0.3];

/** How far the left gripper waits from the cube before it takes it, in metres. */
const STANDOFF_M = 0.1;

/** Height of the pinch point over the table from which the right gripper comes down, in metres. */
const HOVER_HEIGHT_M = 0.09;

/** Height of the pinch point when it grasps: clear of the table by the fingers' 15 mm beyond it. */
export const GRASP_HEIGHT_M = 0.028;

/** A closed gripper stops at the cube (0.51); commanding less presses with about 14 N. */
const GRASP = 0.3;

/** Openings of a gripper that has closed on the cube, at its middle or by its edge. */
const CLOSED = { min: 0.4, max: 0.6 } as const;

/** A closed gripper whose pinch point is nearer to the cube's centre than this holds it, in metres. */
const HELD_M = 0.045;

/** From over the cube down: farther off to the side than this, the fingers would come down on it, in metres. */
const FUNNEL_M = { above: 0.014, low: 0.02, lowHeight: 0.07 } as const;

/** How exactly the gripper has to be at its place to close, in metres. */
const GRASP_TOLERANCE_M = { side: 0.012, height: 0.008 } as const;

/** Nearer than this, the right gripper is there and the left one comes, in metres. */
const AT_MEETING_POINT_M = 0.03;

/** The left gripper takes the cube by its near half, in metres. */
const SHORT_M = 0.01;

/** What counts. */
export interface Situation {
  /** The cube's centre in the world, in metres. */
  readonly cube: Vec3;
  /** The point between the left gripper's fingers, in metres. */
  readonly leftPinch: Vec3;
  /** The point between the right gripper's fingers, in metres. */
  readonly rightPinch: Vec3;
  /** Opening of the right gripper, 0 closed – 1 open. */
  readonly rightGripper: number;
}

/** What to do. */
export interface Intent {
  /** Its name. */
  readonly name: "up" | "over" | "down" | "grasp" | "lift" | "bring" | "take";
  /** Where the right gripper goes. */
  readonly right: IkGoal;
  /** Where the left gripper goes. */
  readonly left: IkGoal;
  /** Opening to command, 0–1. */
  readonly rightGripper: number;
  /** Opening to command, 0–1. */
  readonly leftGripper: number;
}

/**
 * Decide.
 *
 * @param situation What is.
 * @param graspBiasM How far above its right place the right gripper grasps, in metres.
 * @returns What to do: goals change with the situation, so ask again at every control step.
 */
export function decide(situation: Situation, graspBiasM = 0): Intent {
  const { cube, rightPinch, rightGripper } = situation;
  const isClosed = rightGripper > CLOSED.min && rightGripper < CLOSED.max;
  const isHeld = isClosed && distanceM(cube, rightPinch) < HELD_M;
  return isHeld ? handOver(situation) : pickUp(situation, GRASP_HEIGHT_M + graspBiasM);
}

/** The left gripper waits in front of the meeting point from the start. */
const WAITING: IkGoal = leftTo([
  MEETING_POINT[0] - STANDOFF_M,
  MEETING_POINT[1],
  MEETING_POINT[2],
]);

/** Over the cube, down, and close; from a place too low beside it, up first. */
function pickUp({ cube, rightPinch: [x, y, z] }: Situation, graspHeightM: number): Intent {
  const offM = Math.hypot(cube[0] - x, cube[1] - y);
  const go = (name: Intent["name"], at: Vec3, rightGripper = 1): Intent => ({
    name,
    right: rightDownTo(at),
    left: WAITING,
    rightGripper,
    leftGripper: 1,
  });
  const place: Vec3 = [cube[0], cube[1], graspHeightM];
  const { side, height } = GRASP_TOLERANCE_M;
  if (offM < side && Math.abs(z - graspHeightM) < height) return go("grasp", place, GRASP);
  const isOver = offM < FUNNEL_M.above || offM < FUNNEL_M.low && z < FUNNEL_M.lowHeight;
  if (isOver) return go("down", place);
  if (offM > FUNNEL_M.low && z < HOVER_HEIGHT_M - 0.025) return go("up", [x, y, HOVER_HEIGHT_M]);
  return go("over", [cube[0], cube[1], HOVER_HEIGHT_M]);
}

/** Straight up off the table, to the meeting point, and only then the left gripper comes. */
function handOver({ cube, leftPinch, rightPinch }: Situation): Intent {
  const [x, y, z] = rightPinch;
  const held = { left: WAITING, rightGripper: GRASP, leftGripper: 1 };
  if (z < HOVER_HEIGHT_M - 0.02) {
    return { name: "lift", right: rightDownTo([x, y, HOVER_HEIGHT_M + 0.02]), ...held };
  }
  const right: IkGoal = { position: MEETING_POINT, approach: [-1, 0, 0], opening: [0, 1, 0] };
  if (distanceM(rightPinch, MEETING_POINT) > AT_MEETING_POINT_M) {
    return { name: "bring", right, ...held };
  }
  // Where the cube will be, not where it is: the right gripper may still be on its way.
  // Between the cube's height and the right gripper's: fingers pass between fingers, and meet the cube.
  const [mx, my, mz] = MEETING_POINT;
  const place: Vec3 = [mx + cube[0] - x - SHORT_M, my + cube[1] - y, mz + 0.5 * (cube[2] - z)];
  const leftGripper = distanceM(leftPinch, place) < 0.01 ? GRASP : 1;
  return { name: "take", right, left: leftTo(place), rightGripper: GRASP, leftGripper };
}

function rightDownTo(position: Vec3): IkGoal {
  return { position, approach: [0, 0, -1], opening: [0, 1, 0] };
}

function leftTo(position: Vec3): IkGoal {
  return { position, approach: [1, 0, 0], opening: [0, 0, 1] };
}

/**
 * Distance of two points, in metres.
 *
 * @param a One, in metres.
 * @param b The other, in metres.
 */
export function distanceM(a: Vec3, b: Vec3): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

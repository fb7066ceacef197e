/**
 * Keeps both arms off the table, off each other and off themselves.
 *
 * `slack` is a distance less the clearance that it needs: the workspace is clear while the smallest
 * slack is not negative. A check places 22 capsules and compares about 190 pairs, most of which a
 * bounding sphere rules out.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { FINGER, LINKS } from "../kinematics/arm_geometry.ts";
import {
  ARM_CAPSULES,
  CAPSULE_STRIDE,
  CAPSULES_PER_ARM,
  type CapsuleShape,
  createPlacedCapsules,
  placeCapsules,
  segmentDistance,
} from "./capsules.ts";
import type { WorkspaceLimits } from "./limits.ts";

/** What a check found. Overwritten by the next check. */
export interface WorkspaceReport {
  /** No distance is below its clearance. */
  readonly isClear: boolean;
  /** The smallest slack, in metres: how much nearer things may come. */
  readonly slackM: number;
  /** What has the smallest slack. */
  readonly nearest: {
    /** Such as "left finger a to the table" or "left palm to right forearm". */
    readonly what: string;
    /** Distance of the two surfaces, in metres; negative when they overlap. */
    readonly distanceM: number;
  };
}

/**
 * Checks 14 numbers: per arm six joints in rad and the gripper 0–1, left arm first.
 *
 * @throws {RangeError} There are not 14 numbers.
 */
export type WorkspaceCheck = (joints: ArrayLike<number>) => WorkspaceReport;

/** Two capsules that must keep a clearance. */
interface Pair {
  readonly a: number;
  readonly b: number;
  readonly radiiM: number;
  readonly clearanceM: number;
  /** Half the length of both segments: their centres cannot be nearer to each other's ends. */
  readonly halfLengthsM: number;
  readonly what: string;
}

/** A capsule above the table. */
interface AboveTable {
  readonly at: number;
  readonly radiusM: number;
  readonly clearanceM: number;
  readonly what: string;
}

function halfLength({ from, to }: CapsuleShape): number {
  return Math.hypot(from[0] - to[0], from[1] - to[1], from[2] - to[2]) / 2;
}

/** Number of a capsule's first value among the segments of both arms. */
function offsetOf(arm: number, index: number): number {
  return (arm * CAPSULES_PER_ARM + index) * CAPSULE_STRIDE;
}

function pair(
  [armA, i]: readonly [number, number],
  [armB, j]: readonly [number, number],
  clearanceM: number,
): Pair {
  const first = ARM_CAPSULES[i], second = ARM_CAPSULES[j];
  return {
    a: offsetOf(armA, i),
    b: offsetOf(armB, j),
    radiiM: first.radiusM + second.radiusM,
    clearanceM,
    halfLengthsM: halfLength(first) + halfLength(second),
    what: `${ARM_NAMES[armA]} ${first.name} to ${ARM_NAMES[armB]} ${second.name}`,
  };
}

/** Links of an arm that its own gripper can reach. */
const SELF_OBSTACLES = ["base", "shoulder tower", "upper arm"];

function listPairs(limits: WorkspaceLimits): Pair[] {
  const pairs: Pair[] = [];
  ARM_CAPSULES.forEach((first, i) => {
    ARM_CAPSULES.forEach((second, j) => {
      if (first.role === "fixed" && second.role === "fixed") return;
      const areFingers = first.role === "finger" && second.role === "finger";
      const clearanceM = areFingers ? limits.fingerClearanceM : limits.armClearanceM;
      pairs.push(pair([0, i], [1, j], clearanceM));
    });
    if (first.role !== "gripper" && first.role !== "finger") return;
    for (const name of SELF_OBSTACLES) {
      const j = ARM_CAPSULES.findIndex((capsule) => capsule.name === name);
      for (const arm of [0, 1]) pairs.push(pair([arm, i], [arm, j], limits.selfClearanceM));
    }
  });
  return pairs;
}

function listAboveTable(limits: WorkspaceLimits): AboveTable[] {
  return ARM_NAMES.flatMap((arm, armIndex) =>
    ARM_CAPSULES.flatMap(({ name, role, radiusM }, i) => {
      if (role === "fixed") return [];
      const clearanceM = role === "finger" ? limits.fingerTableClearanceM : limits.tableClearanceM;
      const at = offsetOf(armIndex, i);
      return [{ at, radiusM, clearanceM, what: `${arm} ${name} to the table` }];
    })
  );
}

/**
 * Make a check. It reuses its buffers, so one check must not be used by two loops at once.
 *
 * @param limits Clearances.
 * @returns The check; it makes no objects, only V8's boxes of fractions (200 bytes a command in all).
 */
export function createWorkspaceCheck(limits: WorkspaceLimits): WorkspaceCheck {
  const placed = createPlacedCapsules();
  const { segments } = placed;
  const pairs = listPairs(limits);
  const aboveTable = listAboveTable(limits);
  const { tableHeightM } = limits;
  const nearest = { what: "", distanceM: Infinity };
  const report = { isClear: false, slackM: -Infinity, nearest };

  return (joints) => {
    if (joints.length !== ALOHA_DIM) {
      throw new RangeError(
        `Cannot check the workspace: there are ${joints.length} joints, expected ${ALOHA_DIM}`,
      );
    }
    placeCapsules("left", joints, 0, placed);
    placeCapsules("right", joints, ARM_DIM, placed);
    let best = Infinity;
    // NaN compares false with everything and would pass as clear: count what was compared.
    let hasNumbers = true;
    for (let n = 0; n < aboveTable.length; n++) {
      const { at, radiusM, clearanceM, what } = aboveTable[n];
      const low = Math.min(segments[at + 2], segments[at + 5]) - tableHeightM - radiusM;
      if (!(low - clearanceM >= best)) {
        hasNumbers &&= Number.isFinite(low);
        best = low - clearanceM;
        nearest.what = what;
        nearest.distanceM = low;
      }
    }
    for (let n = 0; n < pairs.length; n++) {
      const item = pairs[n];
      const { a, b, radiiM, clearanceM } = item;
      const reach = best + radiiM + clearanceM + item.halfLengthsM;
      const dx = (segments[a] + segments[a + 3] - segments[b] - segments[b + 3]) / 2;
      const dy = (segments[a + 1] + segments[a + 4] - segments[b + 1] - segments[b + 4]) / 2;
      const dz = (segments[a + 2] + segments[a + 5] - segments[b + 2] - segments[b + 5]) / 2;
      if (reach <= 0 || dx * dx + dy * dy + dz * dz >= reach * reach) continue;
      const distance = segmentDistance(segments, a, b) - radiiM;
      if (!(distance - clearanceM >= best)) {
        hasNumbers &&= Number.isFinite(distance);
        best = distance - clearanceM;
        nearest.what = item.what;
        nearest.distanceM = distance;
      }
    }
    report.slackM = hasNumbers ? best : -Infinity;
    report.isClear = hasNumbers && best >= 0;
    return report;
  };
}

/**
 * How far any point of an arm can move when one of its numbers changes by 1, for each of the seven:
 * metres per rad, and per opening for the gripper. The farthest capsule's reach from that joint.
 */
export const REACH_M: readonly number[] = (() => {
  const norm = (v: readonly number[]) => Math.hypot(v[0], v[1], v[2]);
  const fingerM = FINGER.commandRangeM.max;
  const reach: number[] = [];
  let beyond = 0;
  for (let link = JOINTS_PER_ARM - 1; link >= 0; link--) {
    const own = ARM_CAPSULES.filter((capsule) => capsule.link === link).map((c) =>
      Math.max(norm(c.from), norm(c.to)) + c.radiusM + (c.fingerSide === 0 ? 0 : fingerM)
    );
    reach[link] = Math.max(...own, beyond);
    beyond = reach[link] + norm(LINKS[link].offset);
  }
  return [...reach, FINGER.commandRangeM.max - FINGER.commandRangeM.min];
})();

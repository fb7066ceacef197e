/**
 * What the safety filter remembers from one command to the next, and its buffers.
 *
 * @module
 */

import { ALOHA_DIM, ARM_NAMES, checkAction } from "../../common/robot/aloha.ts";
import { ClampCounts } from "./clamp_counts.ts";
import { type JointLimits, MOVING_NAMES, type SafetyLimits } from "./limits.ts";
import { createWorkspaceCheck, type WorkspaceCheck, type WorkspaceReport } from "./workspace.ts";

/** Why a whole command was refused and the robot brakes to a hold instead; null if it was not. */
export type HoldReason = "not_finite" | "workspace" | null;

/** What the filter did to a command. Overwritten by the next call. */
export interface Clamps {
  /** Bits of `CLAMP_BIT` for each of the 14 numbers. */
  readonly masks: Uint8Array;
  /** Whether anything was changed. */
  readonly isClamped: boolean;
  /** Why the robot holds. */
  readonly hold: HoldReason;
  /** What stood in the way when `hold` is `workspace`: "left palm to the table"; else empty. */
  readonly obstacle: string;
  /** How near that would have come, in metres; 0 when nothing stood in the way. */
  readonly obstacleDistanceM: number;
}

/** A filtered command. Overwritten by the next call. */
export interface FilteredCommand {
  /** 14 absolute targets that obey every limit: rad, grippers 0–1. */
  readonly action: Float64Array;
  /** What was changed. */
  readonly clamps: Clamps;
}

/** The 14 numbers' limits, in their order. */
export interface LimitArrays {
  /** Smallest commands `[14]`. */
  readonly min: Float64Array;
  /** Largest commands `[14]`. */
  readonly max: Float64Array;
  /** Largest speeds `[14]`, a second; the step in the longest cycle is within the step limit. */
  readonly velocity: Float64Array;
  /** Largest accelerations `[14]`, a second squared. */
  readonly acceleration: Float64Array;
  /** Largest steps `[14]`. */
  readonly step: Float64Array;
}

/** Memory and buffers of `filterCommand`; only it writes to them. */
export interface FilterState {
  /** Limits in force. */
  readonly limits: SafetyLimits;
  /** The same as arrays. */
  readonly arrays: LimitArrays;
  /** The last filtered command `[14]`. */
  readonly position: Float64Array;
  /** How fast it moved `[14]`, a second. */
  readonly velocity: Float64Array;
  /** Counts of every clamp. */
  readonly counts: ClampCounts;
  /** The workspace's check. */
  readonly checkWorkspace: WorkspaceCheck;
  /** The last command within its position limits `[14]`; after a hold, the last filtered command. */
  readonly target: Float64Array;
  /** The last filtered command's smallest slack, in metres. */
  slackM: number;
  /** Scratch: the candidate's slack, in metres. */
  candidateSlackM: number;
  /** The answer, reused. */
  readonly result: {
    readonly action: Float64Array;
    readonly clamps: { -readonly [K in keyof Clamps]: Clamps[K] };
  };
  /** Scratch: the braking path that is being checked `[14]`. */
  readonly brakePosition: Float64Array;
  /** Scratch: its velocity `[14]`. */
  readonly brakeVelocity: Float64Array;
  /** Scratch: the candidate's velocity `[14]`. */
  readonly candidateVelocity: Float64Array;
  /** Scratch: the candidate's target `[14]`. */
  readonly candidateTarget: Float64Array;
}

function limitArrays(limits: SafetyLimits): LimitArrays {
  const joints: JointLimits[] = ARM_NAMES.flatMap((arm) =>
    MOVING_NAMES.map((name) => limits.arms[arm][name])
  );
  return {
    min: Float64Array.from(joints, (joint) => joint.positionMin),
    max: Float64Array.from(joints, (joint) => joint.positionMax),
    // With this no cycle, short or long, can bring the step and the acceleration into conflict.
    velocity: Float64Array.from(
      joints,
      (joint) => Math.min(joint.velocity, joint.step / limits.maxCycleS),
    ),
    acceleration: Float64Array.from(joints, (joint) => joint.acceleration),
    step: Float64Array.from(joints, (joint) => joint.step),
  };
}

/**
 * Begin filtering from a robot at rest.
 *
 * A robot may rest a little outside its limits (a sleeping arm leans on its stops, a person has moved
 * it): commands then never lead farther out, and lead back in at limited speed.
 *
 * @param limits Limits in force.
 * @param measured The measured 14 numbers: rad, grippers 0–1.
 * @returns A fresh state.
 * @throws {RangeError} There are not 14 finite numbers.
 */
export function createFilterState(
  limits: SafetyLimits,
  measured: ArrayLike<number>,
): FilterState {
  checkAction(measured, ALOHA_DIM);
  const checkWorkspace = createWorkspaceCheck(limits.workspace);
  const position = Float64Array.from(measured);
  const { slackM }: WorkspaceReport = checkWorkspace(position);
  return {
    limits,
    arrays: limitArrays(limits),
    position,
    velocity: new Float64Array(ALOHA_DIM),
    counts: new ClampCounts(),
    checkWorkspace,
    target: Float64Array.from(position),
    slackM,
    candidateSlackM: slackM,
    result: {
      action: new Float64Array(ALOHA_DIM),
      clamps: {
        masks: new Uint8Array(ALOHA_DIM),
        isClamped: false,
        hold: null,
        obstacle: "",
        obstacleDistanceM: 0,
      },
    },
    brakePosition: new Float64Array(ALOHA_DIM),
    brakeVelocity: new Float64Array(ALOHA_DIM),
    candidateVelocity: new Float64Array(ALOHA_DIM),
    candidateTarget: new Float64Array(ALOHA_DIM),
  };
}

/**
 * Begin anew from where the robot is, at rest: after homing by other means, an emergency stop, limp
 * servos or a lost link. Counts go on.
 *
 * @param state What to overwrite.
 * @param measured The measured 14 numbers: rad, grippers 0–1.
 * @throws {RangeError} There are not 14 finite numbers; the state is unchanged then.
 */
export function restartFilter(state: FilterState, measured: ArrayLike<number>): void {
  checkAction(measured, ALOHA_DIM);
  state.position.set(measured);
  state.target.set(measured);
  state.velocity.fill(0);
  state.slackM = state.checkWorkspace(state.position).slackM;
}

/**
 * Counts what the safety filter changed, by joint and kind, for `/status` and `/metrics`.
 *
 * @module
 */

import { STATE_NAMES } from "../../common/robot/aloha.ts";

/**
 * Why a command was changed. `position` to `braking` concern a joint; `not_finite` (the command holds
 * a NaN or an infinity) and `workspace` hold the whole robot and are counted once for each joint to
 * blame, and once in `workspace` for the robot.
 */
export const CLAMP_KINDS = [
  "not_finite",
  "position",
  "step",
  "velocity",
  "acceleration",
  "braking",
  "workspace",
] as const;

/** One of {@link CLAMP_KINDS}. */
export type ClampKind = (typeof CLAMP_KINDS)[number];

/** Bit of a kind in a joint's mask. */
export const CLAMP_BIT: Readonly<Record<ClampKind, number>> = {
  not_finite: 1,
  position: 2,
  step: 4,
  velocity: 8,
  acceleration: 16,
  braking: 32,
  workspace: 64,
};

/** Name under which the whole robot's `workspace` clamps are counted. */
export const WHOLE_ROBOT = "robot";

/** Counts at one moment. */
export interface ClampSnapshot {
  /** Commands that passed the filter. */
  readonly commands: number;
  /** Of those, the ones that were changed in any way. */
  readonly clampedCommands: number;
  /** Clamps since the start by kind; every kind is there. */
  readonly byKind: Readonly<Record<ClampKind, number>>;
  /** Clamps since the start by joint, then kind: only what is above 0. */
  readonly byJoint: Readonly<Record<string, Readonly<Partial<Record<ClampKind, number>>>>>;
}

/** Where the numbers of the counts are. */
const COMMANDS = 0;
const CLAMPED_COMMANDS = 1;
/** `[15, kinds]`: the 14 numbers, then the whole robot. */
const COUNTS = 2;

/** Numbers of {@link ClampCounts.values}: commands, clamped commands, then `[15, kinds]` counts. */
export const CLAMP_COUNTS_LENGTH: number = COUNTS + (STATE_NAMES.length + 1) * CLAMP_KINDS.length;

const WORKSPACE = COUNTS + STATE_NAMES.length * CLAMP_KINDS.length +
  CLAMP_KINDS.indexOf("workspace");

/** Counts of one run. Counting makes no objects. */
export class ClampCounts {
  /** The counts `[CLAMP_COUNTS_LENGTH]`, to be published as they are; see {@link clampSnapshot}. */
  readonly values: Float64Array = new Float64Array(CLAMP_COUNTS_LENGTH);

  /**
   * Count one command.
   *
   * @param masks What was clamped, `[14]`: bits of {@link CLAMP_BIT}. `workspace` is not among them.
   * @param isWorkspaceHold Whether the workspace check held the robot.
   */
  add(masks: Uint8Array, isWorkspaceHold: boolean): void {
    const { values } = this;
    values[COMMANDS]++;
    let all = 0;
    for (let joint = 0; joint < STATE_NAMES.length; joint++) {
      const mask = masks[joint];
      if (mask === 0) continue;
      all |= mask;
      for (let kind = 0; kind < CLAMP_KINDS.length; kind++) {
        if (mask & (1 << kind)) values[COUNTS + joint * CLAMP_KINDS.length + kind]++;
      }
    }
    if (isWorkspaceHold) values[WORKSPACE]++;
    if (all !== 0 || isWorkspaceHold) values[CLAMPED_COMMANDS]++;
  }

  /** The counts now, as a copy. */
  snapshot(): ClampSnapshot {
    return clampSnapshot(this.values);
  }
}

/**
 * Counts that were published as numbers, with their names.
 *
 * @param values {@link ClampCounts.values}, perhaps of another thread.
 * @returns A copy.
 * @throws {RangeError} There are not {@link CLAMP_COUNTS_LENGTH} numbers.
 */
export function clampSnapshot(values: Float64Array): ClampSnapshot {
  if (values.length !== CLAMP_COUNTS_LENGTH) {
    throw new RangeError(
      `Cannot read counts of clamps from ${values.length} numbers, expected ${CLAMP_COUNTS_LENGTH}`,
    );
  }
  const byKind = Object.fromEntries(CLAMP_KINDS.map((kind) => [kind, 0])) as Record<
    ClampKind,
    number
  >;
  const byJoint: Record<string, Partial<Record<ClampKind, number>>> = {};
  [...STATE_NAMES, WHOLE_ROBOT].forEach((name, joint) => {
    CLAMP_KINDS.forEach((kind, k) => {
      const count = values[COUNTS + joint * CLAMP_KINDS.length + k];
      if (count === 0) return;
      byKind[kind] += count;
      (byJoint[name] ??= {})[kind] = count;
    });
  });
  return {
    commands: values[COMMANDS],
    clampedCommands: values[CLAMPED_COMMANDS],
    byKind,
    byJoint,
  };
}

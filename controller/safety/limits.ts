/**
 * What a real arm may do: position, velocity, acceleration, step and current of every joint, and
 * distances in the workspace. Every field is required and finite; none can be left out or turned off.
 *
 * Being narrower than the defaults is always allowed. Being wider needs the limit's name in
 * `acknowledgedWidenings`, and is reported by {@link parseLimits}; what the servo itself cannot or
 * must not do (the mechanical range, its speed, its current) no acknowledgement allows.
 *
 * @module
 */

import { z } from "zod";
import { ARM_JOINT_NAMES, ARM_NAMES, type ArmJointName } from "../../common/robot/aloha.ts";
import { DEFAULT_LIMITS, HARD_LIMITS } from "./default_limits.ts";

/** Names of an arm's seven numbers, in their order. */
export const MOVING_NAMES = [...ARM_JOINT_NAMES, "gripper"] as const;

/** One of {@link MOVING_NAMES}. */
export type MovingName = ArmJointName | "gripper";

/** Limits of one joint in rad, or of a gripper in its normalised opening (0 closed – 1 open). */
export interface JointLimits {
  /** Smallest command: rad or opening. */
  readonly positionMin: number;
  /** Largest command: rad or opening. */
  readonly positionMax: number;
  /** Largest speed of the commands: rad/s or openings/s. */
  readonly velocity: number;
  /** Largest change of that speed: rad/s² or openings/s². */
  readonly acceleration: number;
  /** Largest change from one command to the next, however late it comes: rad or openings. */
  readonly step: number;
  /** Largest sustained current of the joint's servo, in mA. */
  readonly currentMa: number;
}

/** Limits of one arm. */
export type ArmLimits = Readonly<Record<MovingName, JointLimits>>;

/** Least distances between the capsules of `capsules.ts`, in metres. */
export interface WorkspaceLimits {
  /** Height of the table's top in the world. */
  readonly tableHeightM: number;
  /** Of links and palms above the table. */
  readonly tableClearanceM: number;
  /** Of fingers above the table; small, because they pick things up from it. */
  readonly fingerTableClearanceM: number;
  /** Between the two arms. */
  readonly armClearanceM: number;
  /**
   * Between a finger of one arm and a finger of the other. Negative lets their capsules overlap, as
   * they do, unlike the fingers, when two grippers hold one thing.
   */
  readonly fingerClearanceM: number;
  /** Between an arm's gripper and its own base and upper arm. */
  readonly selfClearanceM: number;
}

/** Everything that limits motion. */
export interface SafetyLimits {
  /** Limits of either arm. */
  readonly arms: { readonly left: ArmLimits; readonly right: ArmLimits };
  /** Distances. */
  readonly workspace: WorkspaceLimits;
  /** Longest time since the last command that counts, in s: a late command is never made up for. */
  readonly maxCycleS: number;
  /** Names of limits that are wider than the defaults on purpose, such as `left.waist.velocity`. */
  readonly acknowledgedWidenings: readonly string[];
}

/** A limit that is wider than its default. */
export interface Widening {
  /** Its name, such as `left.waist.velocity`. */
  readonly name: string;
  /** What it is. */
  readonly value: number;
  /** What it is by default. */
  readonly defaultValue: number;
}

/** Limits in force, and how they differ from the defaults. */
export interface LoadedLimits {
  /** The limits. */
  readonly limits: SafetyLimits;
  /** What is wider than the defaults, each acknowledged. Show it wherever the limits are shown. */
  readonly widenings: readonly Widening[];
}

/** A number within hard bounds; zod refuses NaN and infinity. */
function between(min: number, max: number): z.ZodNumber {
  return z.number().min(min).max(max);
}

function jointSchema(name: MovingName) {
  const hard = HARD_LIMITS.joints[name];
  return z.strictObject({
    positionMin: between(hard.positionMin, hard.positionMax),
    positionMax: between(hard.positionMin, hard.positionMax),
    velocity: between(1e-3, hard.velocity),
    acceleration: between(HARD_LIMITS.leastAcceleration, hard.acceleration),
    step: between(1e-5, hard.step),
    currentMa: between(1, hard.currentMa),
  }).refine(({ positionMin, positionMax }) => positionMin < positionMax, {
    error: "positionMin must be below positionMax",
  });
}

const armSchema = z.strictObject({
  waist: jointSchema("waist"),
  shoulder: jointSchema("shoulder"),
  elbow: jointSchema("elbow"),
  forearm_roll: jointSchema("forearm_roll"),
  wrist_angle: jointSchema("wrist_angle"),
  wrist_rotate: jointSchema("wrist_rotate"),
  gripper: jointSchema("gripper"),
});

const clearance = between(HARD_LIMITS.clearanceM.min, HARD_LIMITS.clearanceM.max);

const limitsSchema = z.strictObject({
  arms: z.strictObject({ left: armSchema, right: armSchema }),
  workspace: z.strictObject({
    tableHeightM: between(HARD_LIMITS.tableHeightM.min, HARD_LIMITS.tableHeightM.max),
    tableClearanceM: clearance,
    fingerTableClearanceM: clearance,
    armClearanceM: clearance,
    fingerClearanceM: between(
      HARD_LIMITS.fingerClearanceM.min,
      HARD_LIMITS.fingerClearanceM.max,
    ),
    selfClearanceM: clearance,
  }),
  maxCycleS: between(HARD_LIMITS.maxCycleS.min, HARD_LIMITS.maxCycleS.max),
  acknowledgedWidenings: z.array(z.string().min(1).max(80)).max(200),
});

/** Whether a larger number of this name allows more motion; the others allow less. */
const ALLOWS_MORE_WHEN_LARGER: Readonly<Record<string, boolean>> = {
  positionMin: false,
  positionMax: true,
  velocity: true,
  acceleration: true,
  step: true,
  currentMa: true,
  tableHeightM: false,
  tableClearanceM: false,
  fingerTableClearanceM: false,
  armClearanceM: false,
  fingerClearanceM: false,
  selfClearanceM: false,
  maxCycleS: true,
};

/**
 * Every limit under its name.
 *
 * @param limits Limits of both arms.
 * @returns Names such as `right.gripper.step`, `workspace.armClearanceM` and `maxCycleS`.
 */
export function namedLimits(limits: SafetyLimits): Map<string, number> {
  const named = new Map<string, number>();
  for (const arm of ARM_NAMES) {
    for (const joint of MOVING_NAMES) {
      for (const [kind, value] of Object.entries(limits.arms[arm][joint])) {
        named.set(`${arm}.${joint}.${kind}`, value);
      }
    }
  }
  for (const [kind, value] of Object.entries(limits.workspace)) {
    named.set(`workspace.${kind}`, value);
  }
  return named.set("maxCycleS", limits.maxCycleS);
}

/**
 * Find what is wider than the defaults.
 *
 * @param limits Limits to compare.
 * @returns Every widening, acknowledged or not.
 */
export function findWidenings(limits: SafetyLimits): Widening[] {
  const defaults = namedLimits(DEFAULT_LIMITS);
  return [...namedLimits(limits)].flatMap(([name, value]) => {
    const defaultValue = defaults.get(name) as number;
    const isLarger = ALLOWS_MORE_WHEN_LARGER[name.slice(name.lastIndexOf(".") + 1)];
    const isWider = isLarger ? value > defaultValue : value < defaultValue;
    return isWider ? [{ name, value, defaultValue }] : [];
  });
}

/**
 * Check limits that came from outside.
 *
 * @param value Parsed JSON.
 * @returns The limits and every acknowledged widening.
 * @throws {TypeError} A field is missing, unknown or out of the hard bounds; the sentence names all.
 * @throws {RangeError} A limit is wider than its default and not acknowledged, or an acknowledgement
 * names no widened limit.
 */
export function parseLimits(value: unknown): LoadedLimits {
  const parsed = limitsSchema.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) =>
      `${path.join(".") || "the whole"}: ${message}`
    );
    throw new TypeError(`Cannot use the safety limits: ${problems.join("; ")}`);
  }
  const limits: SafetyLimits = parsed.data;
  const widenings = findWidenings(limits);
  const silent = widenings.filter(({ name }) => !limits.acknowledgedWidenings.includes(name));
  if (silent.length > 0) {
    const list = silent.map((w) => `${w.name} is ${w.value}, the default is ${w.defaultValue}`);
    throw new RangeError(
      `Cannot use the safety limits: ${list.join("; ")}; narrow them or name each in ` +
        `acknowledgedWidenings`,
    );
  }
  const idle = limits.acknowledgedWidenings.filter((name) =>
    !widenings.some((widening) => widening.name === name)
  );
  if (idle.length > 0) {
    throw new RangeError(
      `Cannot use the safety limits: acknowledgedWidenings names ${idle.join(", ")}, which ` +
        `${idle.length === 1 ? "is" : "are"} not wider than the default; remove the name`,
    );
  }
  return { limits, widenings };
}

/**
 * Read limits from a file.
 *
 * @param path A JSON file with every field of {@link SafetyLimits}; null for the defaults.
 * @returns The limits and every acknowledged widening.
 * @throws {TypeError} The file's content does not fit; see {@link parseLimits}.
 * @throws {SyntaxError} The file is not JSON.
 * @throws {Deno.errors.NotFound} There is no such file.
 */
export async function loadLimits(path: string | null): Promise<LoadedLimits> {
  if (path === null) return { limits: DEFAULT_LIMITS, widenings: [] };
  const text = await Deno.readTextFile(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(`Cannot read the safety limits: ${path} is not JSON (${cause})`, {
      cause,
    });
  }
  return parseLimits(value);
}

/**
 * Attacks the safety filter with random commands and checks what comes out against the limits with
 * arithmetic of its own.
 *
 * @module
 */

import { ALOHA_DIM, ARM_NAMES, resetState, STATE_NAMES } from "../../common/robot/aloha.ts";
import { type RandomSource, seededRandom, uniform } from "../../common/random.ts";
import type { ClampSnapshot } from "./clamp_counts.ts";
import { filterCommand } from "./command_filter.ts";
import { DEFAULT_LIMITS } from "./default_limits.ts";
import { createFilterState } from "./filter_state.ts";
import { type JointLimits, MOVING_NAMES, type SafetyLimits } from "./limits.ts";
import { createWorkspaceCheck } from "./workspace.ts";

/** What {@link fuzzCommandFilter} tries. */
export interface FuzzOptions {
  /** Commands in all. */
  readonly count: number;
  /** Decides every number. */
  readonly seed: number;
  /**
   * Length of every cycle, in s; `mixed` changes it often, and from command to command at times. A
   * braking path is checked for cycles of one length, so the clearances hold exactly for a fixed one
   * and up to {@link MIXED_CYCLE_TOLERANCE_M} for mixed ones.
   */
  readonly cycleS: number | "mixed";
  /** Limits in force; the defaults unless given. */
  readonly limits?: SafetyLimits;
}

/**
 * How much of a clearance cycles of changing length may use up, in metres. Not derived: the most that 1.4
 * million commands used up is 5.0 mm. The arms are moved in cycles of one length, which use up nothing.
 */
export const MIXED_CYCLE_TOLERANCE_M = 0.0075;

/** What {@link fuzzCommandFilter} found. */
export interface FuzzFindings {
  /** Commands that went through the filter. */
  readonly commands: number;
  /** Of those, orders to hold: no command at all. */
  readonly holds: number;
  /** Of the others, commands with a NaN or an infinity among their numbers. */
  readonly notFinite: number;
  /** How often each limit was broken; all must be 0. */
  readonly violations: Readonly<Record<Violation, number>>;
  /** The first few violations in words. */
  readonly examples: readonly string[];
  /** Largest share of each limit that was used, 1 is the limit. Small ones mean a weak attack. */
  readonly largestShare: Readonly<Record<"velocity" | "acceleration" | "step", number>>;
  /** The smallest slack of an action that came out, in metres; see `workspace.ts`. */
  readonly smallestSlackM: number;
  /** What the filter counted. */
  readonly counts: ClampSnapshot;
}

/** What can be broken. `stopping` is a joint that can no longer stop before its end. */
export type Violation =
  | "finite"
  | "position"
  | "velocity"
  | "acceleration"
  | "step"
  | "stopping"
  | "workspace";

/** Commands of one kind and cycle length. */
const EPISODE_COMMANDS = 250;

/** Rounding of differences of numbers around 3 over 5 ms, relative to the limit. */
const TOLERANCE = 1e-8;

const MAX_EXAMPLES = 10;

/** 200 Hz, 50 Hz, and longer than what counts. */
const CYCLES_S = [0.005, 0.02, 0.02, 0.04];

/** Numbers that break arithmetic. */
const HOSTILE = [NaN, Infinity, -Infinity, 1e308, -1e308, 1e-308, -0, 2 ** 31, Number.MAX_VALUE];

/** Writes the next command. */
type Attack = (command: Float64Array, random: RandomSource, last: Float64Array) => void;

/** Ways to attack; an episode keeps to one. */
const ATTACKS: readonly Attack[] = [
  // Anything, three times beyond the ranges.
  (command, random) => {
    for (let i = 0; i < ALOHA_DIM; i++) command[i] = uniform(random, -10, 10);
  },
  // A far target that stays for a while: full speed into the ends.
  (command, random) => {
    if (random() > 0.03) return;
    for (let i = 0; i < ALOHA_DIM; i++) command[i] = random() < 0.5 ? -4 : 4;
  },
  // Targets within the ranges that stay for a while.
  (command, random) => {
    if (random() > 0.05) return;
    for (let i = 0; i < ALOHA_DIM; i++) command[i] = uniform(random, -2, 2);
  },
  // Trembling around where the robot is.
  (command, random, last) => {
    for (let i = 0; i < ALOHA_DIM; i++) command[i] = last[i] + uniform(random, -0.1, 0.1);
  },
  // From end to end at every command.
  (command) => {
    const sign = command[0] > 0 ? -1 : 1;
    for (let i = 0; i < ALOHA_DIM; i++) command[i] = sign * 3;
  },
];

/**
 * Send random commands through the filter: far, near, trembling, hostile, in cycles of 5 to 60 ms.
 *
 * @param options How many, from which seed.
 * @returns What was broken, which should be nothing.
 * @throws {RangeError} The count is not a positive integer.
 */
export function fuzzCommandFilter(options: FuzzOptions): FuzzFindings {
  const { count, seed, cycleS, limits = DEFAULT_LIMITS } = options;
  if (!Number.isSafeInteger(count) || count < 1) {
    throw new RangeError(`Cannot fuzz with ${count} commands: expected a positive integer`);
  }
  const random = seededRandom(seed);
  const state = createFilterState(limits, resetState());
  const checkWorkspace = createWorkspaceCheck(limits.workspace);
  const command = Float64Array.from(state.position);
  const judge = new Judge(limits, state.position);
  const toleranceM = cycleS === "mixed" ? MIXED_CYCLE_TOLERANCE_M : 1e-9;
  let attack = ATTACKS[0], dt = cycleS === "mixed" ? 0.02 : cycleS;
  let isJittery = false, isHolding = false, holds = 0, notFinite = 0, smallestSlackM = Infinity;
  for (let n = 0; n < count; n++) {
    if (n % EPISODE_COMMANDS === 0) {
      attack = ATTACKS[Math.floor(random() * ATTACKS.length)];
      isJittery = cycleS === "mixed" && random() < 0.3;
      if (cycleS === "mixed") dt = CYCLES_S[Math.floor(random() * CYCLES_S.length)];
    }
    if (isJittery) dt = uniform(random, 0.005, 0.06);
    attack(command, random, state.position);
    const spared = random() < 0.02 ? Math.floor(random() * ALOHA_DIM) : -1;
    const kept = spared >= 0 ? command[spared] : 0;
    if (spared >= 0) command[spared] = HOSTILE[Math.floor(random() * HOSTILE.length)];
    // Now and then the robot is held for a few cycles, whatever its speed.
    isHolding = random() < (isHolding ? 0.9 : 0.005);
    if (isHolding) holds++;
    else if (spared >= 0 && !Number.isFinite(command[spared])) notFinite++;
    const { action } = filterCommand(state, isHolding ? null : command, dt);
    if (spared >= 0) command[spared] = kept;
    judge.see(action, Math.min(dt, limits.maxCycleS));
    const { slackM, nearest } = checkWorkspace(action);
    smallestSlackM = Math.min(smallestSlackM, slackM);
    if (slackM < -toleranceM) judge.note("workspace", nearest.what, slackM);
  }
  return {
    commands: count,
    holds,
    notFinite,
    violations: judge.violations,
    examples: judge.examples,
    largestShare: judge.largestShare,
    smallestSlackM,
    counts: state.counts.snapshot(),
  };
}

/** Checks actions one after another. */
class Judge {
  readonly violations: Record<Violation, number> = {
    finite: 0,
    position: 0,
    velocity: 0,
    acceleration: 0,
    step: 0,
    stopping: 0,
    workspace: 0,
  };
  readonly examples: string[] = [];
  readonly largestShare = { velocity: 0, acceleration: 0, step: 0 };
  readonly #limits: readonly JointLimits[];
  readonly #last: Float64Array;
  readonly #velocity = new Float64Array(ALOHA_DIM);

  constructor(limits: SafetyLimits, start: Float64Array) {
    this.#limits = ARM_NAMES.flatMap((arm) => MOVING_NAMES.map((name) => limits.arms[arm][name]));
    this.#last = Float64Array.from(start);
  }

  see(action: Float64Array, dt: number): void {
    for (let i = 0; i < ALOHA_DIM; i++) this.#seeJoint(i, action[i], dt);
  }

  note(kind: Violation, where: string, value: number): void {
    this.violations[kind]++;
    if (this.examples.length < MAX_EXAMPLES) this.examples.push(`${kind} of ${where}: ${value}`);
  }

  #seeJoint(i: number, position: number, dt: number): void {
    const limit = this.#limits[i], name = STATE_NAMES[i];
    if (!Number.isFinite(position)) return this.note("finite", name, position);
    const step = position - this.#last[i];
    const velocity = step / dt;
    const acceleration = (velocity - this.#velocity[i]) / dt;
    this.#last[i] = position;
    this.#velocity[i] = velocity;
    if (position < limit.positionMin - TOLERANCE || position > limit.positionMax + TOLERANCE) {
      this.note("position", name, position);
    }
    this.#share("step", step, limit.step, name);
    this.#share("velocity", velocity, limit.velocity, name);
    this.#share("acceleration", acceleration, limit.acceleration, name);
    const stop = position + Math.sign(velocity) * velocity * velocity / (2 * limit.acceleration);
    if (stop < limit.positionMin - TOLERANCE || stop > limit.positionMax + TOLERANCE) {
      this.note("stopping", name, stop);
    }
  }

  #share(kind: "step" | "velocity" | "acceleration", value: number, limit: number, name: string) {
    const share = Math.abs(value) / limit;
    if (share > this.largestShare[kind]) this.largestShare[kind] = share;
    if (share > 1 + TOLERANCE) this.note(kind, name, value);
  }
}

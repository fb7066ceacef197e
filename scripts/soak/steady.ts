/**
 * `deno task soak steady`: how punctual buses and motion are while the policy infers beside them.
 *
 * @module
 */

import { ALOHA_DIM, ARM_NAMES } from "../../common/robot/aloha.ts";
import type { OwnFlags } from "../../common/cli/command.ts";
import type { BusCounters } from "../../controller/dynamixel/thread/bus_readings.ts";
import { jitterPercentile } from "../../controller/dynamixel/thread/bus_readings.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { sharedNowMs } from "../../controller/threads/clock.ts";
import type { Goal } from "../bench/measurement.ts";
import { percentile } from "../statistics.ts";
import { ARM_FLAGS, type SoakPart, soakPart } from "./command.ts";
import { PolicyRun, policyRunOptions } from "./policy_run.ts";
import { type Finding, loadNote, type SoakReport } from "./report.ts";

/** Longest wait for the first episode, in ms: loading, checking and homing take about 10 s. */
const FIRST_EPISODE_MS = 120_000;
/** Time between two lines of progress, in ms. */
const PROGRESS_MS = 30_000;
/** Deadlines missed with less between them were missed for one reason, in ms. */
const BURST_MS = 500;
/** Reasons that are listed. */
const MAX_BURSTS = 20;
/** Joints lag behind their commands by at most so much in an ordinary cycle, in rad or openings. */
const TRACKING_CLASSES = 2_000;
const TRACKING_CLASS = 0.0005;

const STEADY_FLAGS = {
  ...ARM_FLAGS,
  minutes: {
    kind: "number",
    default: 10,
    minimum: 0.05,
    maximum: 1_440,
    unit: "minutes",
    description: "Length, counted from the end of the first homing.",
  },
} as const satisfies OwnFlags;

/** The part. */
export const steady: SoakPart = soakPart(
  "steady",
  "Let the shipped policy move two emulated arms, infer in the same process, and count what comes late.",
  STEADY_FLAGS,
  async (context) => {
    const { flags, progress } = context;
    const { rate, execution, minutes } = flags;
    await using run = await PolicyRun.start(policyRunOptions(context));
    const report = await measureSteady(run, {
      rateHz: Number(rate),
      durationMs: 60_000 * minutes,
      onProgress: (line) => progress.info(line),
    });
    return [{ ...report, title: `steady at ${rate} Hz, ${execution}` }];
  },
);

/** What {@link measureSteady} is told. */
export interface SteadyOptions {
  /** Cycles of the buses a second; decides which goals hold. */
  readonly rateHz: number;
  /** Length, in ms. */
  readonly durationMs: number;
  /** Takes a line now and then. */
  readonly onProgress: (line: string) => void;
}

/**
 * Measure a run from the end of its first homing on.
 *
 * @param run A controller that has just been started.
 * @param options How long, and whom to tell.
 * @returns What was counted.
 * @throws {Error} The controller fails.
 */
export async function measureSteady(run: PolicyRun, options: SteadyOptions): Promise<SoakReport> {
  const { rateHz, durationMs, onProgress } = options;
  const { robot } = run;
  await run.until("first episode", () => run.isRunning, FIRST_EPISODE_MS);
  for (const arm of ARM_NAMES) await robot.arms.buses[arm].resetCounters();
  const tracking = new TrackingError();
  const before = snapshot(run);
  const startMs = sharedNowMs();
  const onRecord = robot.onRecord;
  robot.onRecord = (record) => {
    onRecord(record);
    tracking.add(record);
  };
  let nextMs = startMs + PROGRESS_MS;
  const misses = new MissLog(before.motionMissed);
  const isOver = () => {
    const nowMs = sharedNowMs();
    misses.look(nowMs - startMs, run);
    if (nowMs >= nextMs) {
      nextMs += PROGRESS_MS;
      const { missed } = busCounters(run);
      const minutes = ((nowMs - startMs) / 60_000).toFixed(1);
      onProgress(`${minutes} min, ${missed} deadlines missed; ${loadNote()}`);
    }
    return nowMs >= startMs + durationMs;
  };
  await run.until("end", isOver, durationMs + 60_000);
  robot.onRecord = onRecord;
  const after = snapshot(run);
  const bus = busCounters(run);
  const inferenceMs = run.inferenceMs.slice(before.chunks);
  const seconds = (sharedNowMs() - startMs) / 1000;
  const count = (name: keyof typeof before) => after[name] - before[name];
  const at50 = (goal: Goal) => rateHz === 50 ? { goal } : {};
  const at200 = (goal: Goal) => rateHz === 200 ? { goal } : {};
  const findings: Finding[] = [
    { name: "bus cycles", unit: "", value: bus.cycles },
    {
      name: "deadlines missed",
      unit: "",
      value: bus.missed,
      ...at50({ kind: "at most", value: 0 }),
    },
    {
      name: "cycles on time",
      unit: "%",
      value: 100 * bus.cycles / (bus.cycles + bus.missed),
      ...at200({ kind: "at least", value: 99.9 }),
    },
    { name: "jitter p50", unit: "ms", value: jitterPercentile(bus, 0.5) },
    { name: "jitter p99", unit: "ms", value: jitterPercentile(bus, 0.99) },
    {
      name: "jitter p99.9",
      unit: "ms",
      value: jitterPercentile(bus, 0.999),
      ...at50({ kind: "at most", value: 2 }),
    },
    { name: "jitter max", unit: "ms", value: jitterPercentile(bus, 1) },
    { name: "longest exchange", unit: "ms", value: bus.longestExchangeMs },
    { name: "setpoints written again", unit: "", value: bus.repeated },
    { name: "answers asked for again", unit: "", value: bus.retries },
    { name: "cycles without all answers", unit: "", value: bus.incomplete },
    { name: "motion cycles", unit: "", value: count("motionCycles") },
    { name: "motion cycles missed", unit: "", value: count("motionMissed") },
    { name: "chunks", unit: "1/s", value: inferenceMs.length / seconds },
    { name: "chunks late", unit: "", value: count("lateChunks") },
    { name: "inference p50", unit: "ms", value: percentileOf(inferenceMs, 0.5) },
    { name: "inference p99", unit: "ms", value: percentileOf(inferenceMs, 0.99) },
    { name: "commands clamped", unit: "", value: count("clamped") },
    { name: "tracking error p50", unit: "rad", value: tracking.percentile(0.5) },
    { name: "tracking error p99", unit: "rad", value: tracking.percentile(0.99) },
    { name: "tracking error max", unit: "rad", value: tracking.max },
    {
      name: "interruptions",
      unit: "",
      value: count("interruptions"),
      goal: { kind: "at most", value: 0 },
    },
  ];
  const notes = [
    `${seconds.toFixed(0)} s; both buses together; ${loadNote()}`,
    ...misses.lines(),
    `clamps of joints: ${JSON.stringify(robot.arms.motion.clamps().byKind)}`,
  ];
  return { title: "steady", findings, notes };
}

/** Largest distance of a joint from its command in each cycle that executed a plan; grippers do not count. */
export class TrackingError {
  /** Largest of all, in rad. */
  max = 0;
  readonly #counts = new Float64Array(TRACKING_CLASSES);
  #cycles = 0;

  /** Take a cycle. @param record `MOTION_RECORD`; not kept. */
  add(record: Float64Array): void {
    if (HOLD_REASONS[record[MOTION_RECORD.hold]] !== "none") return;
    let worst = 0;
    for (let i = 0; i < ALOHA_DIM; i++) {
      // A gripper's command is its joint's share, its measurement its opening's.
      if (i % 7 === 6) continue;
      const error = record[MOTION_RECORD.command + i] - record[MOTION_RECORD.measured + i];
      worst = Math.max(worst, Math.abs(error));
    }
    if (!Number.isFinite(worst)) return;
    this.max = Math.max(this.max, worst);
    this.#counts[Math.min(TRACKING_CLASSES - 1, Math.floor(worst / TRACKING_CLASS))]++;
    this.#cycles++;
  }

  /**
   * A percentile over the cycles.
   *
   * @param quantile In (0, 1].
   * @returns In rad, to 0.0005 rad upwards; NaN without cycles.
   */
  percentile(quantile: number): number {
    let seen = 0;
    const rank = Math.ceil(quantile * this.#cycles);
    const index = this.#counts.findIndex((count) => (seen += count) >= rank);
    return this.#cycles === 0 ? NaN : (index + 1) * TRACKING_CLASS;
  }
}

/** When deadlines were missed: together by all threads, as when the machine stood still, or by one. */
class MissLog {
  readonly #bursts: { atMs: number; endMs: number; readonly missed: number[] }[] = [];
  #before: readonly number[];
  #left = 0;

  /** Begin. @param motionMissed Cycles that the motion thread had missed before. */
  constructor(motionMissed: number) {
    this.#before = [0, 0, motionMissed];
  }

  /** Look at the counters; often. @param atMs Time since the start. @param run The controller. */
  look(atMs: number, { robot: { arms } }: PolicyRun): void {
    const now = [
      ...ARM_NAMES.map((arm) => arms.buses[arm].counters().missed),
      arms.motion.status().missed,
    ];
    const added = now.map((count, i) => Math.max(0, count - this.#before[i]));
    this.#before = now;
    if (added.every((count) => count === 0)) return;
    const last = this.#bursts.at(-1);
    if (last !== undefined && atMs - last.endMs < BURST_MS) {
      last.endMs = atMs;
      added.forEach((count, i) => last.missed[i] += count);
    } else if (this.#bursts.length < MAX_BURSTS) {
      this.#bursts.push({ atMs, endMs: atMs, missed: added });
    } else {
      this.#left++;
    }
  }

  /** One line each, and one for those that are left out. */
  lines(): string[] {
    const lines = this.#bursts.map(({ atMs, missed: [left, right, motion] }) =>
      `missed at ${(atMs / 1000).toFixed(1)} s: left ${left}, right ${right}, motion ${motion}`
    );
    return this.#left === 0 ? lines : [...lines, `and ${this.#left} times more`];
  }
}

/** Counters of both buses, added up; of times the largest. */
function busCounters({ robot }: PolicyRun): BusCounters {
  const [left, right] = ARM_NAMES.map((arm) => robot.arms.buses[arm].counters());
  const sum = <K extends "cycles" | "missed" | "incomplete" | "retries" | "repeated">(name: K) =>
    left[name] + right[name];
  return {
    ...left,
    cycles: sum("cycles"),
    missed: sum("missed"),
    incomplete: sum("incomplete"),
    retries: sum("retries"),
    repeated: sum("repeated"),
    longestExchangeMs: Math.max(left.longestExchangeMs, right.longestExchangeMs),
    jitter: left.jitter.map((count, i) => count + right.jitter[i]),
  };
}

function snapshot({ robot, source, inferenceMs }: PolicyRun) {
  const { cycles, missed } = robot.arms.motion.status();
  const status = source.status() as { lateChunks: number; interruptions: number };
  return {
    motionCycles: cycles,
    motionMissed: missed,
    lateChunks: status.lateChunks,
    interruptions: status.interruptions,
    clamped: robot.arms.motion.clamps().clampedCommands,
    chunks: inferenceMs.length,
  };
}

function percentileOf(values: readonly number[], share: number): number {
  return values.length === 0 ? NaN : percentile(values, share);
}

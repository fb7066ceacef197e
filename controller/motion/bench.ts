/**
 * What a cycle of the motion thread costs on this machine, and how late it begins.
 *
 * @module
 */

import { ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { StopLatch } from "../safety/stop_latch.ts";
import { sharedNowMs } from "../threads/clock.ts";
import { deadlineMs, dueDeadline } from "../threads/schedule.ts";
import { motionSchedule } from "./motion_cycle.ts";
import { MAX_PLAN_STEPS, MOTION_RECORD } from "./motion_memory.ts";
import { MotionThread } from "./motion_thread.ts";
import { MotionRig, RigArms } from "./testing.ts";

/** How much to measure. */
export interface MotionBenchOptions {
  /** Cycles a second: 50, 100, 150 or 200. */
  readonly rateHz: number;
  /** Length, in s. */
  readonly seconds: number;
}

/** What {@link benchMotion} measured. */
export interface MotionBench {
  /** Cycles that ran in the thread. */
  readonly cycles: number;
  /** Cycles that it skipped. */
  readonly missed: number;
  /** Time that a cycle takes while it follows a plan, in µs: half of them at most, 99 of 100, all. */
  readonly costUs: { readonly median: number; readonly p99: number; readonly longest: number };
  /** Start of a cycle after its deadline, in ms: half of them at most, 99 and 999 of 1000, all. */
  readonly latenessMs: {
    readonly median: number;
    readonly p99: number;
    readonly p999: number;
    readonly longest: number;
  };
}

/** A wave of all joints: 0.25 Hz, at most 0.31 rad/s and 0.5 rad/s² [n, 14]. */
function wave(steps: number): Float32Array {
  const targets = new Float32Array(steps * ALOHA_DIM);
  const pose = resetState(0.2);
  for (let n = 0; n < steps; n++) {
    const offset = 0.2 * (1 - Math.cos(2 * Math.PI * 0.25 * n * 0.02)) / 2;
    for (let i = 0; i < ALOHA_DIM; i++) targets[n * ALOHA_DIM + i] = pose[i] + offset;
  }
  return targets;
}

function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
}

/** Cost of as many cycles as fit, run one after another with a clock of their own, in µs, sorted. */
function measureCost(rateHz: number, cycles: number): Float64Array {
  const rig = new MotionRig({ rateHz }).start();
  const targets = wave(MAX_PLAN_STEPS);
  const rows = Array.from(
    { length: MAX_PLAN_STEPS },
    (_, n) => targets.subarray(n * ALOHA_DIM, (n + 1) * ALOHA_DIM),
  );
  const costUs: number[] = [];
  for (let n = 0; n < cycles; n++) {
    if (n % 100 === 0) rig.plan(rows);
    rig.runAt(rig.cycle.nextMs, (run) => {
      const startMs = performance.now();
      const hasRun = run();
      costUs.push(1000 * (performance.now() - startMs));
      return hasRun;
    });
    rig.records.length = 0;
  }
  return Float64Array.from(costUs).sort();
}

/**
 * Follow a wave with arms that answer at once: the cost of cycles in this thread, their lateness in
 * the motion thread.
 *
 * @param options Rate and length.
 * @returns What was measured.
 * @throws {RangeError} The rate is none that arms can be moved at.
 * @throws {Error} The thread does not start.
 */
export async function benchMotion({ rateHz, seconds }: MotionBenchOptions): Promise<MotionBench> {
  const costUs = measureCost(rateHz, Math.max(200, Math.round(rateHz * seconds)));
  const epochMs = sharedNowMs();
  const schedule = motionSchedule(rateHz, epochMs);
  const arms = new RigArms();
  const thread = await MotionThread.open({
    limits: DEFAULT_LIMITS,
    rateHz,
    epochMs,
    latch: new StopLatch().memory,
    buses: arms.buses,
    isDryRun: true,
    logger: { info() {}, warn() {}, error() {} },
  });
  await using _ = thread;
  const latenessMs: number[] = [];
  const live = () => {
    arms.answer(sharedNowMs());
    thread.alive();
    if (thread.status().stepsLeft < 100) thread.follow(wave(MAX_PLAN_STEPS));
    thread.takeRecords((record) => {
      const timeMs = record[MOTION_RECORD.timeMs];
      latenessMs.push(timeMs - deadlineMs(schedule, dueDeadline(schedule, timeMs)));
    });
  };
  const timer = setInterval(live, 10);
  try {
    await thread.restart();
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  } finally {
    clearInterval(timer);
  }
  const { cycles, missed } = thread.status();
  const late = Float64Array.from(latenessMs).sort();
  return {
    cycles,
    missed,
    costUs: {
      median: quantile(costUs, 0.5),
      p99: quantile(costUs, 0.99),
      longest: quantile(costUs, 1),
    },
    latenessMs: {
      median: quantile(late, 0.5),
      p99: quantile(late, 0.99),
      p999: quantile(late, 0.999),
      longest: quantile(late, 1),
    },
  };
}

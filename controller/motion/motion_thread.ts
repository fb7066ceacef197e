/**
 * The main thread's end of the thread that moves the arms.
 *
 * @module
 */

import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import type { Logger } from "../../common/types.ts";
import { CLAMP_COUNTS_LENGTH, type ClampSnapshot, clampSnapshot } from "../safety/clamp_counts.ts";
import { StopLatch } from "../safety/stop_latch.ts";
import { sharedNowMs } from "../threads/clock.ts";
import { SharedRecord } from "../threads/shared_record.ts";
import { SharedRing } from "../threads/shared_ring.ts";
import type { MotionSetup } from "./motion_cycle.ts";
import {
  createMotionMemory,
  MAX_PLAN_STEPS,
  MOTION_RECORD,
  MOTION_STATUS,
  ORDER,
  ORDER_MODES,
  PLAN,
} from "./motion_memory.ts";
import type { MotionReply, MotionRequest } from "./motion_messages.ts";
import { describeHold, type MotionStatus, readMotionStatus } from "./motion_status.ts";

/** Longest wait for the thread to run its first cycle, or to end, in ms. */
const THREAD_DEADLINE_MS = 10_000;
/** Longest wait for a restart: a robot at full speed stands after 0.6 s. */
const RESTART_DEADLINE_MS = 2_000;
/** Longest wait for the arms to stand before the thread is ended, in ms. */
const STAND_DEADLINE_MS = 1_000;
/** Time between two looks at the status while waiting for something, in ms. */
const POLL_MS = 4;

/** What {@link MotionThread.open} is told. */
export interface MotionThreadOptions extends Omit<MotionSetup, "memory"> {
  /** Hears of a thread that does not end. */
  readonly logger: Logger;
  /** Called with a sentence if the thread ends by itself; the buses then repeat the last setpoint. */
  readonly onFailure?: (sentence: string) => void;
}

/** A motion thread that runs. */
export class MotionThread {
  readonly #worker: Worker;
  readonly #logger: Logger;
  readonly #latch: StopLatch;
  readonly #end = new Int32Array(new SharedArrayBuffer(4));
  readonly #ended = Promise.withResolvers<void>();
  #failure: string | null = null;
  #isClosing = false;
  readonly #plan: SharedRecord;
  readonly #order: SharedRecord;
  readonly #status: SharedRecord;
  readonly #clampCounts: SharedRecord;
  readonly #records: SharedRing;
  readonly #planValues = new Float64Array(PLAN.length);
  readonly #orderValues = new Float64Array(ORDER.length);
  readonly #statusValues = new Float64Array(MOTION_STATUS.length);
  readonly #recordValues = new Float64Array(MOTION_RECORD.length);
  readonly #countValues = new Float64Array(CLAMP_COUNTS_LENGTH);

  private constructor({ logger, onFailure, ...parts }: MotionThreadOptions) {
    const memory = createMotionMemory();
    this.#logger = logger;
    this.#latch = new StopLatch(parts.latch);
    this.#plan = new SharedRecord(memory.plan);
    this.#order = new SharedRecord(memory.order);
    this.#status = new SharedRecord(memory.status);
    this.#clampCounts = new SharedRecord(memory.clampCounts);
    this.#records = new SharedRing(memory.records);
    this.#orderValues[ORDER.mode] = ORDER_MODES.follow;
    this.#orderValues.fill(NaN, ORDER.goals);
    this.alive();

    const url = new URL("./motion_worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name: "motion" });
    const fail = (sentence: string) => {
      this.#failure ??= sentence;
      this.#ended.resolve();
      if (!this.#isClosing) onFailure?.(sentence);
    };
    this.#worker.onmessage = ({ data }: MessageEvent<MotionReply>) => {
      if (data.kind === "ended") this.#ended.resolve();
      else fail(data.sentence);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      fail(`the thread that moves the arms has failed: ${event.message}`);
    };
    // Only what a Worker can be sent, whatever else the caller's object holds.
    const { limits, rateHz, epochMs, latch, buses, isDryRun } = parts;
    const setup: MotionSetup = { limits, rateHz, epochMs, latch, buses, isDryRun, memory };
    const end = this.#end.buffer as SharedArrayBuffer;
    this.#worker.postMessage({ setup, end } satisfies MotionRequest);
  }

  /**
   * Start the thread. Nothing moves before {@link restart}.
   *
   * @param options Limits, the buses' rate, epoch and memory, and who is told what.
   * @returns The thread, after its first cycle.
   * @throws {Error} It does not start; the sentence says why.
   */
  static async open(options: MotionThreadOptions): Promise<MotionThread> {
    const thread = new MotionThread(options);
    const isRunning = await until(
      () => thread.#status.count > 0 || thread.#failure !== null,
      THREAD_DEADLINE_MS,
    );
    const failure = thread.#failure ?? (isRunning ? null : "its first cycle does not come");
    if (failure === null) return thread;
    Atomics.store(thread.#end, 0, 1);
    thread.#worker.terminate();
    throw new Error(`Cannot start the thread that moves the arms: ${failure}`);
  }

  /**
   * Follow a plan. It replaces the one before when its own first step begins; after its last step the
   * pose is held. A plan for steps that have passed starts in its middle.
   *
   * @param targets Absolute targets `[n, 14]`, 1…512 steps: rad, grippers 0–1.
   * @param firstStep Control step at which the first target is due; −1: the first one to begin once the
   * thread sees the plan.
   * @returns The plan's number, from 1: `planId` in status and records.
   * @throws {RangeError} The targets are not 1…512 rows of 14 numbers, or the step is no integer.
   */
  follow(targets: Float32Array, firstStep: number = -1): number {
    const steps = targets.length / ALOHA_DIM;
    if (!Number.isInteger(steps) || steps < 1 || steps > MAX_PLAN_STEPS) {
      throw new RangeError(
        `Cannot follow a plan of ${targets.length} numbers: expected 1 to ${MAX_PLAN_STEPS} rows ` +
          `of ${ALOHA_DIM}`,
      );
    }
    if (!Number.isSafeInteger(firstStep)) {
      throw new RangeError(
        `Cannot follow a plan from control step ${firstStep}: expected an integer, or −1 for the next`,
      );
    }
    // First the sign of life: a plan that is seen without one is forgotten.
    this.alive();
    const values = this.#planValues;
    values[PLAN.id]++;
    values[PLAN.firstStep] = firstStep;
    values[PLAN.steps] = steps;
    values.set(targets, PLAN.targets);
    this.#plan.write(values.subarray(0, PLAN.targets + targets.length));
    return values[PLAN.id];
  }

  /** Hold the pose, until {@link resume}. The plan's time goes on. */
  hold(): void {
    this.#orderValues[ORDER.mode] = ORDER_MODES.hold;
    this.alive();
  }

  /** Follow plans again. */
  resume(): void {
    this.#orderValues[ORDER.mode] = ORDER_MODES.follow;
    this.alive();
  }

  /**
   * Show that the main thread is alive. Call it from a timer at least every 50 ms: without it for 250
   * ms the arms hold and the plan is forgotten.
   */
  alive(): void {
    this.#orderValues[ORDER.aliveMs] = sharedNowMs();
    this.#order.write(this.#orderValues);
  }

  /**
   * Begin anew, at rest. What had gone wrong and all plans are forgotten. Arms that move come to rest
   * first.
   *
   * @param goals The commands that servos with torque hold `[14]`: beginning from them, nothing moves.
   * Without them, or where one is NaN or far from what is measured, it begins from what is measured, and
   * a loaded joint sinks once more.
   * @throws {Error} It could not be done within 2 s; the sentence says why, and the order is withdrawn.
   */
  async restart(goals?: ArrayLike<number>): Promise<void> {
    const order = this.#orderValues;
    order.fill(NaN, ORDER.goals);
    if (goals !== undefined) order.set(goals, ORDER.goals);
    const wanted = Math.max(order[ORDER.restarts], this.status().restarts) + 1;
    order[ORDER.restarts] = wanted;
    this.alive();
    const isDone = await until(
      () => this.#failure !== null || this.status().restarts >= wanted,
      RESTART_DEADLINE_MS,
    );
    if (isDone && this.#failure === null) return;
    // What nobody waits for any more must not happen later by itself.
    if (order[ORDER.restarts] === wanted) {
      order[ORDER.restarts] = wanted - 1;
      this.alive();
    }
    const why = this.#failure ??
      (this.#latch.mode === null ? describeHold(this.status()) : "an emergency stop is in force");
    throw new Error(`Cannot begin to move within ${RESTART_DEADLINE_MS / 1000} s: ${why}`);
  }

  /**
   * What the thread is doing.
   *
   * @returns A copy.
   */
  status(): MotionStatus {
    this.#status.read(this.#statusValues);
    return readMotionStatus(this.#statusValues);
  }

  /**
   * Take the records of the cycles since the last call, oldest first.
   *
   * @param visit Called with each record, laid out as `MOTION_RECORD`; overwritten by the next one.
   * @returns How many there were.
   */
  takeRecords(visit: (record: Float64Array) => void): number {
    let count = 0;
    for (; this.#records.take(this.#recordValues); count++) visit(this.#recordValues);
    return count;
  }

  /** What the safety filter has changed since the start; up to 0.1 s old. */
  clamps(): ClampSnapshot {
    this.#clampCounts.read(this.#countValues);
    return clampSnapshot(this.#countValues);
  }

  /** Let the arms come to rest, for a second at most, and end the thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#failure === null) {
      const cycles = this.status().cycles;
      this.hold();
      // Two cycles later the hold has been seen for sure.
      const hasStopped = () => {
        const status = this.status();
        return this.#failure !== null || (status.isStill && status.cycles >= cycles + 2);
      };
      await until(hasStopped, STAND_DEADLINE_MS);
    }
    Atomics.store(this.#end, 0, 1);
    Atomics.notify(this.#end, 0);
    let isEnded = false;
    this.#ended.promise.then(() => isEnded = true);
    if (!await until(() => isEnded, THREAD_DEADLINE_MS)) {
      this.#logger.warn("The thread that moves the arms did not end by itself and was ended");
    }
    this.#worker.terminate();
  }
}

/** Wait for something that happens on another thread. False: it did not in time. */
async function until(isTrue: () => boolean, deadlineMs: number): Promise<boolean> {
  const endMs = performance.now() + deadlineMs;
  while (!isTrue()) {
    if (performance.now() > endMs) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return true;
}

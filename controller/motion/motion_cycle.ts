/**
 * One cycle of the motion thread: from plans, orders and what the servos report to the next setpoint of
 * both arms. No thread and no clock of its own.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, CONTROL_RATE_HZ } from "../../common/robot/aloha.ts";
import { commandToTicks } from "../arms/units.ts";
import { type BusMemory, SETPOINT } from "../dynamixel/thread/bus_memory.ts";
import { filterCommand } from "../safety/command_filter.ts";
import { createFilterState, type FilterState, restartFilter } from "../safety/filter_state.ts";
import type { SafetyLimits } from "../safety/limits.ts";
import { StopLatch, type StopLatchMemory } from "../safety/stop_latch.ts";
import { Deadlines, type Schedule } from "../threads/schedule.ts";
import { SharedRecord } from "../threads/shared_record.ts";
import { SharedRing } from "../threads/shared_ring.ts";
import { ArmWatch, MAX_OFF_TRACK_RAD } from "./arm_watch.ts";
import { HoldDecision, holdIndex, type Situation } from "./hold_decision.ts";
import {
  type HoldReason,
  MOTION_RECORD,
  MOTION_STATUS,
  type MotionMemory,
  ORDER,
  ORDER_MODES,
} from "./motion_memory.ts";
import { PlanFollower } from "./plan_follower.ts";

/** How far ahead of the buses' deadlines a setpoint is begun at most, in ms; ten times what it takes. */
const MAX_LEAD_MS = 2;
/** The same as a share of the period. */
const LEAD_SHARE = 0.2;
/** Time from one publication of the clamps' counts to the next, in ms. */
const COUNTS_PERIOD_MS = 100;
/** A command that moves less than this in a second stands, in rad: a fifteenth of a servo's tick. */
const STILL_PER_S = 1e-4;
const MAX_RATE_HZ = 200;

/** What a {@link MotionCycle} works on; can be posted to a Worker. */
export interface MotionSetup {
  /** Limits in force. */
  readonly limits: SafetyLimits;
  /** Cycles a second: 50, 100, 150 or 200. */
  readonly rateHz: number;
  /** Time from which the buses' deadlines are counted, in ms of `sharedNowMs`. */
  readonly epochMs: number;
  /** The emergency stop. */
  readonly latch: StopLatchMemory;
  /** What is shared with the buses' threads. */
  readonly buses: { readonly left: BusMemory; readonly right: BusMemory };
  /** Whether the servos have no torque. */
  readonly isDryRun: boolean;
  /** What is shared with the main thread. */
  readonly memory: MotionMemory;
}

/**
 * The motion thread's deadlines: those of the buses, a little earlier.
 *
 * @param rateHz Cycles a second: 50, 100, 150 or 200.
 * @param epochMs Time from which the buses' deadlines are counted, in ms of `sharedNowMs`.
 * @throws {RangeError} The rate is another.
 */
export function motionSchedule(rateHz: number, epochMs: number): Schedule {
  if (!(rateHz > 0 && rateHz % CONTROL_RATE_HZ === 0 && rateHz <= MAX_RATE_HZ)) {
    throw new RangeError(
      `Cannot move arms at ${rateHz} Hz: expected a multiple of ${CONTROL_RATE_HZ} Hz, ` +
        `${MAX_RATE_HZ} Hz at most`,
    );
  }
  const periodMs = 1000 / rateHz;
  return { epochMs, periodMs, phaseMs: -Math.min(MAX_LEAD_MS, LEAD_SHARE * periodMs) };
}

/** Everything that the motion thread knows. {@link run} makes hardly any garbage. */
export class MotionCycle {
  readonly #periodS: number;
  readonly #cyclesPerStep: number;
  readonly #deadlines: Deadlines;
  /** Number of the deadline with which control step 0 begins. */
  readonly #firstIndex: number;

  readonly #latch: StopLatch;
  readonly #order: SharedRecord;
  readonly #status: SharedRecord;
  readonly #clampCounts: SharedRecord;
  readonly #records: SharedRing;
  readonly #setpoints: readonly SharedRecord[];
  readonly #orderValues = new Float64Array(ORDER.length);
  readonly #start = new Float64Array(ALOHA_DIM);
  readonly #statusValues = new Float64Array(MOTION_STATUS.length);
  readonly #recordValues = new Float64Array(MOTION_RECORD.length);
  readonly #setpointValues = new Float64Array(SETPOINT.length);
  readonly #ticks = this.#setpointValues.subarray(SETPOINT.ticks, SETPOINT.ticks + ARM_DIM);

  readonly #follower: PlanFollower;
  readonly #arms: ArmWatch;
  readonly #decision: HoldDecision;
  readonly #situation: Situation = {
    nowMs: 0,
    isStopped: false,
    aliveMs: -Infinity,
    isHoldOrdered: true,
    isRestartOrdered: false,
    hasTarget: false,
  };
  readonly #limits: SafetyLimits;
  /** Null before the first restart: there is no pose to begin from. */
  #filter: FilterState | null = null;
  readonly #wanted = new Float64Array(ALOHA_DIM).fill(NaN);
  readonly #command = new Float64Array(ALOHA_DIM).fill(NaN);
  #restarts = 0;
  #step = 0;
  #cycleOfStep = 0;
  #planIndex = -1;
  #refusal = 0;
  #isRestart = false;
  #cycles = 0;
  #nextCountsMs = -Infinity;

  /**
   * Begin; nothing moves before a restart is ordered.
   *
   * @param setup Limits, memory and deadlines.
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @throws {RangeError} The rate or the epoch makes no deadlines.
   */
  constructor(setup: MotionSetup, nowMs: number) {
    const { memory, buses, limits } = setup;
    const schedule = motionSchedule(setup.rateHz, setup.epochMs);
    this.#periodS = schedule.periodMs / 1000;
    this.#cyclesPerStep = setup.rateHz / CONTROL_RATE_HZ;
    this.#deadlines = new Deadlines(schedule, nowMs);
    // Steps begin at the epoch's multiples of 20 ms, whenever the thread does.
    this.#firstIndex = this.#cyclesPerStep *
      Math.floor(this.#deadlines.index / this.#cyclesPerStep);
    this.#latch = new StopLatch(setup.latch);
    this.#order = new SharedRecord(memory.order);
    this.#status = new SharedRecord(memory.status);
    this.#clampCounts = new SharedRecord(memory.clampCounts);
    this.#records = new SharedRing(memory.records);
    this.#setpoints = ARM_NAMES.map((arm) => new SharedRecord(buses[arm].setpoint));
    this.#follower = new PlanFollower(memory.plan, this.#cyclesPerStep);
    this.#arms = new ArmWatch(buses, limits);
    this.#decision = new HoldDecision(this.#arms, setup.isDryRun);
    this.#limits = limits;
  }

  /** When the next cycle is due, in ms of `sharedNowMs`. */
  get nextMs(): number {
    return this.#deadlines.nextMs;
  }

  /**
   * Run the cycle that is due.
   *
   * @param nowMs The time, in ms of `sharedNowMs`.
   * @returns False when none is due, and nothing has been done. Cycles that are too late are skipped.
   */
  run(nowMs: number): boolean {
    if (this.#deadlines.begin(nowMs) < 0) return false;
    const index = this.#deadlines.index - 1 - this.#firstIndex;
    this.#cycleOfStep = index % this.#cyclesPerStep;
    this.#step = (index - this.#cycleOfStep) / this.#cyclesPerStep;
    this.#cycles++;

    const reason = this.#look(nowMs);
    if (this.#decision.isStarted && this.#filter !== null) {
      this.#move(reason, this.#filter);
      this.#writeSetpoints(nowMs);
    } else {
      this.#wanted.set(this.#command);
      this.#planIndex = -1;
      this.#refusal = 0;
      this.#follower.pause();
    }
    this.#pushRecord(nowMs, reason);
    this.#writeStatus(reason);
    this.#publishCounts(nowMs);
    return true;
  }

  /** Read everything and decide. */
  #look(nowMs: number): HoldReason {
    const situation = this.#situation, order = this.#orderValues;
    // The plan before the order: whoever sends a plan shows first that he is alive, so a plan that is
    // seen together with an old sign of life is an old plan.
    this.#follower.look(this.#step, this.#cycleOfStep);
    const hasOrder = this.#order.read(order);
    this.#arms.look(nowMs);
    situation.nowMs = nowMs;
    situation.isStopped = this.#latch.mode !== null;
    situation.aliveMs = hasOrder ? order[ORDER.aliveMs] : -Infinity;
    situation.isHoldOrdered = order[ORDER.mode] !== ORDER_MODES.follow;
    situation.isRestartOrdered = hasOrder && order[ORDER.restarts] > this.#restarts;
    if (situation.isRestartOrdered) this.#restart(situation);
    situation.hasTarget = this.#follower.hasTarget(this.#step);
    const reason = this.#decision.decide(situation, this.#command);
    if (reason === "main thread silent") this.#follower.forget();
    return reason;
  }

  /** Begin anew if that is possible now; the command never jumps while it moves. */
  #restart(situation: Situation): void {
    if (situation.isStopped) return;
    if (this.#decision.isStarted && !this.#isStill()) return;
    if (!this.#decision.restart(situation.nowMs)) return;
    const pose = this.#startPose();
    if (this.#filter === null) this.#filter = createFilterState(this.#limits, pose);
    else restartFilter(this.#filter, pose);
    this.#command.set(pose);
    this.#follower.forget();
    this.#restarts = this.#orderValues[ORDER.restarts];
    this.#isRestart = true;
    situation.isRestartOrdered = false;
  }

  /** The goals that the servos hold, where they are known and near; else where the arms are. */
  #startPose(): Float64Array {
    const { pose } = this.#arms;
    for (let i = 0; i < ALOHA_DIM; i++) {
      const goal = this.#orderValues[ORDER.goals + i];
      this.#start[i] = Math.abs(goal - pose[i]) <= MAX_OFF_TRACK_RAD ? goal : pose[i];
    }
    return this.#start;
  }

  /** Make the next command. */
  #move(reason: HoldReason, filter: FilterState): void {
    this.#planIndex = -1;
    if (reason === "none") {
      const { position } = filter;
      this.#planIndex = this.#follower.want(
        this.#step,
        this.#cycleOfStep,
        position,
        this.#wanted,
      );
    } else {
      this.#follower.pause();
    }
    // Always one period, also after skipped cycles: the servos get one period's way at a time, and the
    // braking paths that the filter checks are exactly those of the cycles to come.
    const wanted = reason === "none" ? this.#wanted : null;
    const { action, clamps } = filterCommand(filter, wanted, this.#periodS);
    this.#refusal = clamps.hold === "not_finite" ? 1 : clamps.hold === "workspace" ? 2 : 0;
    this.#command.set(action);
    if (reason !== "none") this.#wanted.set(action);
  }

  #writeSetpoints(nowMs: number): void {
    this.#setpointValues[SETPOINT.timeMs] = nowMs;
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      commandToTicks(this.#command, ARM_NAMES[arm], this.#ticks);
      this.#setpoints[arm].write(this.#setpointValues);
    }
  }

  #pushRecord(nowMs: number, reason: HoldReason): void {
    const record = this.#recordValues;
    record[MOTION_RECORD.timeMs] = nowMs;
    record[MOTION_RECORD.step] = this.#step;
    record[MOTION_RECORD.isStepEnd] = this.#cycleOfStep === this.#cyclesPerStep - 1 ? 1 : 0;
    record[MOTION_RECORD.planId] = this.#follower.followedId;
    record[MOTION_RECORD.planIndex] = this.#planIndex;
    record[MOTION_RECORD.hold] = holdIndex(reason);
    record[MOTION_RECORD.refusal] = this.#refusal;
    record[MOTION_RECORD.isRestart] = this.#isRestart ? 1 : 0;
    this.#isRestart = false;
    record[MOTION_RECORD.stateAgeMs] = this.#arms.stateAgeMs(nowMs);
    record.set(this.#wanted, MOTION_RECORD.wanted);
    record.set(this.#command, MOTION_RECORD.command);
    record.set(this.#arms.state, MOTION_RECORD.measured);
    const masks = this.#decision.isStarted ? this.#filter?.result.clamps.masks : undefined;
    if (masks === undefined) record.fill(0, MOTION_RECORD.clamps);
    else record.set(masks, MOTION_RECORD.clamps);
    this.#records.push(record);
  }

  #writeStatus(reason: HoldReason): void {
    const status = this.#statusValues, follower = this.#follower, { finding } = this.#decision;
    status[MOTION_STATUS.step] = this.#step;
    status[MOTION_STATUS.planId] = follower.planId;
    status[MOTION_STATUS.planFirstStep] = follower.firstStep;
    status[MOTION_STATUS.stepsLeft] = follower.stepsLeft(this.#step);
    status[MOTION_STATUS.hold] = holdIndex(reason);
    status[MOTION_STATUS.restarts] = this.#restarts;
    status[MOTION_STATUS.culprit] = finding.culprit;
    status[MOTION_STATUS.measured] = finding.measured;
    status[MOTION_STATUS.allowed] = finding.allowed;
    status[MOTION_STATUS.cycles] = this.#cycles;
    status[MOTION_STATUS.missed] = this.#deadlines.missed;
    status[MOTION_STATUS.droppedRecords] = this.#records.dropped;
    status.set(this.#command, MOTION_STATUS.command);
    status[MOTION_STATUS.isStill] = this.#isStill() ? 1 : 0;
    this.#status.write(status);
  }

  #publishCounts(nowMs: number): void {
    if (nowMs < this.#nextCountsMs || this.#filter === null) return;
    this.#nextCountsMs = nowMs + COUNTS_PERIOD_MS;
    this.#clampCounts.write(this.#filter.counts.values);
  }

  /** Whether the command stands: setpoints that are not made any more do, too. */
  #isStill(): boolean {
    if (this.#filter === null || !this.#decision.isStarted) return true;
    const { velocity } = this.#filter;
    for (let i = 0; i < ALOHA_DIM; i++) if (Math.abs(velocity[i]) > STILL_PER_S) return false;
    return true;
  }
}

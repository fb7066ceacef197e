/**
 * A motion cycle with a clock, arms and a main thread that a test drives.
 *
 * @module
 */

import { ALOHA_DIM, ARM_DIM, ARM_NAMES, resetState } from "../../common/robot/aloha.ts";
import { commandToTicks } from "../arms/units.ts";
import { createBusMemory, GOAL_IDS, SETPOINT, STATE } from "../dynamixel/thread/bus_memory.ts";
import { DEFAULT_LIMITS } from "../safety/default_limits.ts";
import { StopLatch } from "../safety/stop_latch.ts";
import { SharedRecord } from "../threads/shared_record.ts";
import { SharedRing } from "../threads/shared_ring.ts";
import { MotionCycle } from "./motion_cycle.ts";
import {
  createMotionMemory,
  MOTION_RECORD,
  MOTION_STATUS,
  ORDER,
  ORDER_MODES,
  PLAN,
} from "./motion_memory.ts";
import { type MotionStatus, readMotionStatus } from "./motion_status.ts";

/** All goal servos have answered. */
export const ALL_ANSWERED: number = (1 << GOAL_IDS.length) - 1;

/** The epoch of the rig's clock, in ms. */
export const RIG_EPOCH_MS = 1_790_000_000_000;

/** What a rig is like. */
export interface RigOptions {
  /** Cycles a second; default 50. */
  readonly rateHz?: number;
  /** Whether the servos have no torque; default false. */
  readonly isDryRun?: boolean;
}

/** One record, its vectors as copies. */
export interface RigRecord {
  /** All numbers, laid out as {@link MOTION_RECORD}. */
  readonly values: Float64Array;
  /** Wanted `[14]`. */
  readonly wanted: Float64Array;
  /** Command `[14]`. */
  readonly command: Float64Array;
}

/** Both arms of a rig: states that the test writes, or that follow the setpoints exactly. */
export class RigArms {
  /** Memory of both buses. */
  readonly buses = { left: createBusMemory(), right: createBusMemory() };
  /** Whether the arms go where the setpoints are. */
  isFollowing = true;
  /** Whether each arm is heard. */
  readonly isHeard: [boolean, boolean] = [true, true];
  /** Which servos of each arm answer, as bits. */
  readonly answered: [number, number] = [ALL_ANSWERED, ALL_ANSWERED];
  /** How far the clock of the arms' threads is ahead, in ms. */
  clockAheadMs = 0;
  /** Present currents `[14]`, in 2.69 mA. */
  readonly current = new Float64Array(ALOHA_DIM);
  /** Positions `[2, 7]` in ticks. */
  readonly ticks: readonly Float64Array[] = ARM_NAMES.map((arm) => {
    const ticks = new Float64Array(ARM_DIM);
    commandToTicks(resetState(), arm, ticks);
    return ticks;
  });
  readonly #states = ARM_NAMES.map((arm) => new SharedRecord(this.buses[arm].state));
  readonly #setpoints = ARM_NAMES.map((arm) => new SharedRecord(this.buses[arm].setpoint));
  readonly #setpoint = new Float64Array(SETPOINT.length);
  readonly #state = new Float64Array(STATE.length);
  #cycle = 0;

  /** Times that a setpoint has been written. */
  get setpoints(): number {
    return this.#setpoints[0].count;
  }

  /** The last setpoint of an arm: time, then 7 ticks; null if there is none. */
  setpoint(arm: 0 | 1): Float64Array | null {
    return this.#setpoints[arm].read(this.#setpoint) ? this.#setpoint.slice() : null;
  }

  /** Let the servos answer. */
  answer(timeMs: number): void {
    this.#cycle++;
    for (let arm = 0; arm < ARM_NAMES.length; arm++) {
      const hasSetpoint = this.#setpoints[arm].read(this.#setpoint);
      if (hasSetpoint && this.isFollowing) {
        this.ticks[arm].set(this.#setpoint.subarray(SETPOINT.ticks));
      }
      if (!this.isHeard[arm]) continue;
      this.#state.fill(0);
      this.#state[STATE.timeMs] = timeMs + this.clockAheadMs;
      this.#state[STATE.cycle] = this.#cycle;
      this.#state[STATE.answered] = this.answered[arm];
      this.#state.set(this.ticks[arm], STATE.positionTicks);
      this.#state.set(
        this.current.subarray(arm * ARM_DIM, (arm + 1) * ARM_DIM),
        STATE.current,
      );
      this.#state.fill(NaN, STATE.goalTicks);
      this.#states[arm].write(this.#state);
    }
  }
}

/** Everything around a {@link MotionCycle}. */
export class MotionRig {
  /** The arms. */
  readonly arms = new RigArms();
  /** The emergency stop. */
  readonly latch = new StopLatch();
  /** What is tested. */
  readonly cycle: MotionCycle;
  /** Whether the main thread shows that it is alive. */
  isMainAlive = true;
  /** The time, in ms. */
  nowMs: number = RIG_EPOCH_MS + 1;
  /** Every record, in order. */
  readonly records: RigRecord[] = [];
  readonly #memory = createMotionMemory();
  readonly #plan = new SharedRecord(this.#memory.plan);
  readonly #order = new SharedRecord(this.#memory.order);
  readonly #status = new SharedRecord(this.#memory.status);
  readonly #ring = new SharedRing(this.#memory.records);
  readonly #orderValues = new Float64Array(ORDER.length);
  #planId = 0;

  /** Arms at the reset pose, an order to follow plans, and no restart yet. */
  constructor({ rateHz = 50, isDryRun = false }: RigOptions = {}) {
    this.#orderValues[ORDER.mode] = ORDER_MODES.follow;
    this.#orderValues.fill(NaN, ORDER.goals);
    this.cycle = new MotionCycle({
      limits: DEFAULT_LIMITS,
      rateHz,
      epochMs: RIG_EPOCH_MS,
      latch: this.latch.memory,
      buses: this.arms.buses,
      isDryRun,
      memory: this.#memory,
    }, this.nowMs);
  }

  /** Status of the thread. */
  get status(): MotionStatus {
    const values = new Float64Array(MOTION_STATUS.length);
    this.#status.read(values);
    return readMotionStatus(values);
  }

  /** The newest record. */
  get last(): RigRecord {
    return this.records[this.records.length - 1];
  }

  /** Send a plan of rows of 14 targets. Returns its number. */
  plan(rows: readonly ArrayLike<number>[], firstStep: number = -1): number {
    const values = new Float64Array(PLAN.targets + rows.length * ALOHA_DIM);
    values.set([++this.#planId, firstStep, rows.length]);
    rows.forEach((row, i) => values.set(row, PLAN.targets + i * ALOHA_DIM));
    this.#plan.write(values);
    return this.#planId;
  }

  /** Order a hold, or that plans are followed. */
  order(mode: keyof typeof ORDER_MODES): void {
    this.#orderValues[ORDER.mode] = ORDER_MODES[mode];
    this.#order.write(this.#orderValues);
  }

  /** Order a restart, from goals where they are given. */
  orderRestart(goals?: ArrayLike<number>): void {
    if (goals !== undefined) this.#orderValues.set(goals, ORDER.goals);
    this.#orderValues[ORDER.restarts]++;
    this.#order.write(this.#orderValues);
  }

  /** Run cycles, with fresh states and signs of life before each of them. */
  run(cycles: number): RigRecord {
    for (let n = 0; n < cycles; n++) this.runAt(this.cycle.nextMs + 0.1);
    return this.last;
  }

  /**
   * Run a cycle at a time.
   *
   * @param nowMs The time, in ms.
   * @param around Called with the cycle, to run it: for a stopwatch.
   * @returns Whether one ran.
   */
  runAt(nowMs: number, around: (run: () => boolean) => boolean = (run) => run()): boolean {
    this.nowMs = nowMs;
    this.arms.answer(nowMs - 3);
    if (this.isMainAlive) this.#orderValues[ORDER.aliveMs] = nowMs - 10;
    this.#order.write(this.#orderValues);
    const hasRun = around(() => this.cycle.run(nowMs));
    const values = new Float64Array(MOTION_RECORD.length);
    while (this.#ring.take(values)) {
      const copy = values.slice();
      this.records.push({
        values: copy,
        wanted: copy.subarray(MOTION_RECORD.wanted, MOTION_RECORD.wanted + ALOHA_DIM),
        command: copy.subarray(MOTION_RECORD.command, MOTION_RECORD.command + ALOHA_DIM),
      });
    }
    return hasRun;
  }

  /** Order a restart and run the cycle in which it is done. */
  start(): this {
    this.orderRestart();
    this.run(1);
    return this;
  }
}

/** Rows of targets at the reset pose, the left waist as told. */
export function waistRows(angles: readonly number[]): Float64Array[] {
  return angles.map((angle) => {
    const row = Float64Array.from(resetState());
    row[0] = angle;
    return row;
  });
}

/**
 * One cycle of a bus: look at the emergency stop, write goals, read the servos, publish what they said.
 *
 * @module
 */

import type { StopMode } from "../../safety/emergency_stop.ts";
import { sharedNowMs } from "../../threads/clock.ts";
import { SharedRecord } from "../../threads/shared_record.ts";
import { BusError, type DynamixelBus, type ReadLimits, type ServoReading } from "../bus.ts";
import { answerTimeoutMs } from "../builtin/line_timing.ts";
import { CONTROL_TABLE, decodeItem, encodeItem } from "../control_table.ts";
import { ALERT_BIT } from "../protocol/status_error.ts";
import { type BusMemory, GOAL_IDS, SETPOINT, STATE } from "./bus_memory.ts";
import type { CounterRecord } from "./counter_record.ts";
import { GoalKeeper } from "./goal_keeper.ts";
import type { BusMode } from "./messages.ts";
import type { SilenceWatch } from "./silence_watch.ts";
import type { StopGuard } from "./stop_guard.ts";

const { presentCurrent, presentVelocity, presentPosition, goalPosition } = CONTROL_TABLE;
/** Present_Current, Present_Velocity and Present_Position lie side by side: one moment, one read. */
const STATE_ADDRESS = presentCurrent.address;
const STATE_BYTES = presentPosition.address + presentPosition.bytes - STATE_ADDRESS;
/** Setpoints older than so many cycles are stale: the motion thread is late or gone. */
const STALE_CYCLES = 3;
/** Share of a period after which no attempt to read is to end: the rest is for health and calls. */
const BUDGET_SHARE = 0.85;
/**
 * Allowance for adapter and system, in ms: a quarter of a period between these bounds, so that a retry
 * fits at 50 and 100 Hz. At 200 Hz none does, and a lost answer is asked for again by the next cycle.
 */
const LATENCY_SHARE = 0.25;
const LATENCY_BOUNDS_MS = [2.5, 4] as const;
/** What is allowed in any case, even to a cycle that began late or after a fault and may overrun. */
const LEAST_LATENCY_MS = 1;
/** Bytes of a sync read beside its IDs. */
const SYNC_READ_BYTES = 14;

/** What a cycle works with. */
export interface BusCycleOptions {
  /** Setpoints and states. */
  readonly memory: BusMemory;
  /** Time between cycles, in ms. */
  readonly periodMs: number;
  /** Bits a second. */
  readonly baudRate: number;
  /** The largest Return_Delay_Time among the servos, ms. */
  readonly returnDelayMs: number;
  /** Takes counts and times. */
  readonly counters: CounterRecord;
  /** The emergency stop. */
  readonly guard: StopGuard;
  /** Told who has answered; says who is worth asking. */
  readonly silence: SilenceWatch;
}

/** The cycles of one bus. */
export class BusCycle {
  readonly #options: BusCycleOptions;
  readonly #goals: GoalKeeper;
  readonly #setpoint: SharedRecord;
  readonly #setpointValues = new Float64Array(SETPOINT.length);
  readonly #state: SharedRecord;
  readonly #stateValues = new Float64Array(STATE.length).fill(NaN);
  #cycle = 0;
  #hasStragglers = false;

  /** No cycle has run yet. @param options What it works with. */
  constructor(options: BusCycleOptions) {
    this.#options = options;
    const { memory, periodMs } = options;
    this.#goals = new GoalKeeper(STALE_CYCLES * periodMs);
    this.#setpoint = new SharedRecord(memory.setpoint);
    this.#state = new SharedRecord(memory.state);
  }

  /** Bits of the servos of `GOAL_IDS` whose last answer carried the hardware alert. */
  get alerts(): number {
    return this.#stateValues[STATE.alerts] || 0;
  }

  /** Whether an answer of the last cycle may still come: then the line has to fall silent first. */
  get hasStragglers(): boolean {
    return this.#hasStragglers;
  }

  /** Drive anew: nothing is written before the next setpoint. */
  forgetGoals(): void {
    this.#goals.forget();
    this.#stateValues.fill(NaN, STATE.goalTicks, STATE.goalTicks + GOAL_IDS.length);
  }

  /**
   * Run a cycle.
   *
   * @param bus An open bus.
   * @param mode `monitor` or `drive`.
   * @param dueMs Its deadline, in ms of `sharedNowMs`; it is to end before the next one.
   * @returns The stop that was in force.
   * @throws {BusError} The port is gone.
   */
  run(bus: DynamixelBus, mode: BusMode, dueMs: number): StopMode | null {
    const { guard, counters } = this.#options;
    const beganMs = sharedNowMs();
    const stop = guard.enforce(bus);
    if (mode === "drive" && stop !== "torque-off") this.#writeGoals(bus, stop);
    const readings = this.#readServos(bus, dueMs);
    this.#publish(readings);
    counters.add("cycles");
    const exchangeMs = sharedNowMs() - beganMs;
    if (exchangeMs > counters.get("longestExchangeMs")) {
      counters.set("longestExchangeMs", exchangeMs);
    }
    return stop;
  }

  #writeGoals(bus: DynamixelBus, stop: StopMode | null): void {
    const { guard, counters } = this.#options;
    const setpoint = this.#setpoint.read(this.#setpointValues) ? this.#setpointValues : undefined;
    const state = { isStopped: stop !== null, openedMs: guard.openedMs };
    const { isNew, hasMoved } = this.#goals.update(setpoint, state, sharedNowMs());
    const { ticks } = this.#goals;
    if (ticks === undefined) return;
    const rows = new Map(GOAL_IDS.map((id, i) => [id, encodeItem(goalPosition, ticks[i])]));
    if (!isNew) counters.add("repeated");
    if (hasMoved) {
      counters.add("moved");
      counters.set("lastMovedMs", sharedNowMs());
    }
    bus.syncWrite(goalPosition.address, goalPosition.bytes, rows);
    this.#stateValues.set(ticks, STATE.goalTicks);
  }

  #readServos(bus: DynamixelBus, dueMs: number): readonly ServoReading[] {
    const { silence } = this.#options;
    const nowMs = sharedNowMs();
    const asked = GOAL_IDS.filter((id) => silence.isToBeAsked(id, nowMs));
    const readings = readGroup(bus, asked, this.#limits(asked.length, dueMs - nowMs));
    const endMs = sharedNowMs();
    for (const { id, data } of readings) silence.report(id, data !== undefined, endMs);
    this.#hasStragglers = readings.some(({ fault }) => fault !== undefined);
    return readings;
  }

  /** How long the servos may take, so that even a lost answer lets the cycle end in time. */
  #limits(servos: number, untilDueMs: number): ReadLimits {
    const { periodMs, baudRate, returnDelayMs } = this.#options;
    const line = { baudRate, returnDelayMs, latencyMs: 0 };
    const lineMs = answerTimeoutMs(line, SYNC_READ_BYTES + servos, servos, STATE_BYTES);
    const leftMs = untilDueMs + BUDGET_SHARE * periodMs;
    const [lowMs, highMs] = LATENCY_BOUNDS_MS;
    const wantedMs = Math.min(highMs, Math.max(lowMs, LATENCY_SHARE * periodMs));
    const latencyMs = Math.max(LEAST_LATENCY_MS, Math.min(wantedMs, leftMs - lineMs));
    return { latencyMs, budgetMs: Math.max(1, leftMs) };
  }

  #publish(readings: readonly ServoReading[]): void {
    const values = this.#stateValues;
    let answered = 0;
    let alerts = 0;
    for (const { id, data, error = 0 } of readings) {
      const i = GOAL_IDS.findIndex((goalId) => goalId === id);
      if ((error & ALERT_BIT) !== 0) alerts |= 1 << i;
      if (data === undefined) continue;
      answered |= 1 << i;
      values[STATE.current + i] = decodeItem(presentCurrent, data);
      values[STATE.velocity + i] = decodeItem(
        presentVelocity,
        data,
        presentVelocity.address - STATE_ADDRESS,
      );
      values[STATE.positionTicks + i] = decodeItem(
        presentPosition,
        data,
        presentPosition.address - STATE_ADDRESS,
      );
    }
    if (answered !== (1 << GOAL_IDS.length) - 1) this.#options.counters.add("incomplete");
    values[STATE.timeMs] = sharedNowMs();
    values[STATE.cycle] = ++this.#cycle;
    values[STATE.answered] = answered;
    values[STATE.alerts] = alerts;
    this.#state.write(values);
  }
}

function readGroup(
  bus: DynamixelBus,
  ids: readonly number[],
  limits: ReadLimits,
): readonly ServoReading[] {
  try {
    return bus.syncRead(STATE_ADDRESS, STATE_BYTES, ids, limits);
  } catch (error) {
    // A port that is there and would not send: a cycle without answers, and the next one tries again.
    if (!(error instanceof BusError) || error.fault === "device") throw error;
    return ids.map((id) => ({ id, fault: error.fault }));
  }
}

/**
 * A bus's numbers with names, for whoever shows them.
 *
 * @module
 */

import { SharedRecord } from "../../threads/shared_record.ts";
import {
  type BusMemory,
  COUNTERS,
  GOAL_IDS,
  HEALTH,
  JITTER_CLASS_MS,
  SERVO_IDS,
  STATE,
} from "./bus_memory.ts";

/** What one goal servo said last. */
export interface ServoState {
  /** Its ID, one of `GOAL_IDS`. */
  readonly id: number;
  /** Whether it answered in the last cycle. */
  readonly hasAnswered: boolean;
  /** Whether its answer carried the hardware alert. */
  readonly hasAlert: boolean;
  /** Present_Position in ticks; NaN before its first answer. */
  readonly positionTicks: number;
  /** Present_Velocity in 0.229 rev/min. */
  readonly velocity: number;
  /** Present_Current in 2.69 mA. */
  readonly current: number;
  /** Goal_Position last written, in ticks; NaN before the first. */
  readonly goalTicks: number;
}

/** What the servos said in the last cycle. */
export interface BusState {
  /** When their answers were there, in ms of `sharedNowMs`. */
  readonly timeMs: number;
  /** Number of the cycle, from 1. */
  readonly cycle: number;
  /** The goal servos, in the order of `GOAL_IDS`. */
  readonly servos: readonly ServoState[];
}

/** Health of one servo; NaN where it has not answered yet. */
export interface ServoHealth {
  /** Its ID, one of `SERVO_IDS`. */
  readonly id: number;
  /** Hardware_Error_Status. */
  readonly hardwareError: number;
  /** Torque_Enable. */
  readonly torque: number;
  /** Bus_Watchdog; −1 once it has expired. */
  readonly watchdog: number;
  /** Present_Input_Voltage in 0.1 V. */
  readonly voltage: number;
  /** Present_Temperature in °C. */
  readonly temperatureC: number;
}

/** Health of all servos. */
export interface BusHealth {
  /** When the last reading ended, in ms of `sharedNowMs`. */
  readonly timeMs: number;
  /** The servos, in the order of `SERVO_IDS`. */
  readonly servos: readonly ServoHealth[];
}

/** The counters by their names in `COUNTERS`, where each is explained, and the histogram of jitter. */
export type BusCounters =
  & Readonly<Record<Exclude<keyof typeof COUNTERS, "jitter" | "length">, number>>
  & { readonly jitter: readonly number[] };

/**
 * Read the last state.
 *
 * @param memory Of a bus.
 * @returns The state; null before the first cycle.
 */
export function readBusState(memory: BusMemory): BusState | null {
  const values = readRecord(memory.state, STATE.length);
  if (values === null) return null;
  const bit = (place: number, i: number) => (values[place] & (1 << i)) !== 0;
  const servos = GOAL_IDS.map((id, i) => ({
    id,
    hasAnswered: bit(STATE.answered, i),
    hasAlert: bit(STATE.alerts, i),
    positionTicks: values[STATE.positionTicks + i],
    velocity: values[STATE.velocity + i],
    current: values[STATE.current + i],
    goalTicks: values[STATE.goalTicks + i],
  }));
  return { timeMs: values[STATE.timeMs], cycle: values[STATE.cycle], servos };
}

/**
 * Read the servos' health.
 *
 * @param memory Of a bus.
 * @returns The health; null before the first reading.
 */
export function readBusHealth(memory: BusMemory): BusHealth | null {
  const values = readRecord(memory.health, HEALTH.length);
  if (values === null) return null;
  const servos = SERVO_IDS.map((id, i) => ({
    id,
    hardwareError: values[HEALTH.hardwareError + i],
    torque: values[HEALTH.torque + i],
    watchdog: values[HEALTH.watchdog + i],
    voltage: values[HEALTH.voltage + i],
    temperatureC: values[HEALTH.temperatureC + i],
  }));
  return { timeMs: values[HEALTH.timeMs], servos };
}

/**
 * Read the counters.
 *
 * @param memory Of a bus.
 * @returns The counters, all 0 before the thread has started.
 */
export function readBusCounters(memory: BusMemory): BusCounters {
  const values = readRecord(memory.counters, COUNTERS.length) ?? new Float64Array(COUNTERS.length);
  const { jitter, length, ...single } = COUNTERS;
  const named = Object.fromEntries(Object.entries(single).map(([name, at]) => [name, values[at]]));
  return {
    ...named as Record<keyof typeof single, number>,
    jitter: [...values.subarray(jitter, length)],
  };
}

/**
 * A percentile of the lateness with which cycles began.
 *
 * @param counters Counters of a bus.
 * @param quantile In (0, 1], such as 0.999.
 * @returns Upper edge of the histogram's class in ms, off by at most 0.1 ms; infinite in the last class,
 *   which has none; 0 when no cycle has run.
 * @throws {RangeError} The quantile is outside (0, 1].
 */
export function jitterPercentile(counters: Pick<BusCounters, "jitter">, quantile: number): number {
  if (!(quantile > 0 && quantile <= 1)) {
    throw new RangeError(`Cannot take the quantile ${quantile} of jitter: expected 0 < q ≤ 1`);
  }
  const { jitter } = counters;
  const total = jitter.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 0;
  const rank = Math.ceil(quantile * total);
  let seen = 0;
  const index = jitter.findIndex((count) => (seen += count) >= rank);
  return index === jitter.length - 1 ? Infinity : (index + 1) * JITTER_CLASS_MS;
}

function readRecord(memory: SharedArrayBuffer, length: number): Float64Array | null {
  const values = new Float64Array(length);
  return new SharedRecord(memory).read(values) ? values : null;
}

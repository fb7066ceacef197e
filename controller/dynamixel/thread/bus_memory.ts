/**
 * What a bus's thread shares with the others, and how its numbers are laid out.
 *
 * Four records with one writer each (see `threads/shared_record.ts`): setpoints, written by the motion
 * thread; states, health and counters, written by the bus thread. Positions are ticks as the servos
 * report them; `arms/` turns them into radians.
 *
 * @module
 */

import { createRecordMemory, type SharedRecordMemory } from "../../threads/shared_record.ts";

/** Servos of an arm that take goals and are read in every cycle; 3 and 5 are shadows of 2 and 4. */
export const GOAL_IDS = [1, 2, 4, 6, 7, 8, 9] as const;

/** All servos of an arm, whose health is read now and then. */
export const SERVO_IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

/** Memory of one bus; can be posted to Workers. */
export interface BusMemory {
  /** {@link SETPOINT}. */
  readonly setpoint: SharedRecordMemory;
  /** {@link STATE}. */
  readonly state: SharedRecordMemory;
  /** {@link HEALTH}. */
  readonly health: SharedRecordMemory;
  /** {@link COUNTERS}. */
  readonly counters: SharedRecordMemory;
}

/** Where the numbers of a setpoint are: what every goal servo shall be at next. */
export const SETPOINT = {
  /** When it was made, in ms of `sharedNowMs`. */
  timeMs: 0,
  /** Goal_Position in ticks, `[7]`, in the order of {@link GOAL_IDS}. */
  ticks: 1,
  /** Numbers in all. */
  length: 1 + GOAL_IDS.length,
} as const;

/** Where the numbers of a state are: what the servos said in the last cycle. */
export const STATE = {
  /** When the answers were there, in ms of `sharedNowMs`. */
  timeMs: 0,
  /** Number of the cycle, from 1. */
  cycle: 1,
  /** Bit `i` is set when servo `i` of {@link GOAL_IDS} answered in this cycle. */
  answered: 2,
  /** Bit `i` is set when servo `i`'s answer carried the hardware alert; 0 with a driver that hides it. */
  alerts: 3,
  /** Present_Position in ticks `[7]`: of a servo that did not answer, the last that is known. */
  positionTicks: 4,
  /** Present_Velocity in 0.229 rev/min `[7]`. */
  velocity: 4 + GOAL_IDS.length,
  /** Present_Current in 2.69 mA `[7]`. */
  current: 4 + 2 * GOAL_IDS.length,
  /** The Goal_Position last written, in ticks `[7]`; NaN before the first. */
  goalTicks: 4 + 3 * GOAL_IDS.length,
  /** Numbers in all. */
  length: 4 + 4 * GOAL_IDS.length,
} as const;

/** Where the numbers of the servos' health are. A servo that has not answered yet has NaN. */
export const HEALTH = {
  /** When the last reading ended, in ms of `sharedNowMs`. */
  timeMs: 0,
  /** Hardware_Error_Status `[9]`, in the order of {@link SERVO_IDS}. */
  hardwareError: 1,
  /** Torque_Enable `[9]`. */
  torque: 1 + SERVO_IDS.length,
  /** Bus_Watchdog `[9]`: −1 once it has expired. */
  watchdog: 1 + 2 * SERVO_IDS.length,
  /** Present_Input_Voltage in 0.1 V `[9]`. */
  voltage: 1 + 3 * SERVO_IDS.length,
  /** Present_Temperature in °C `[9]`. */
  temperatureC: 1 + 4 * SERVO_IDS.length,
  /** Numbers in all. */
  length: 1 + 5 * SERVO_IDS.length,
} as const;

/** Classes of the histogram of jitter: class `i` holds [i, i + 1) × 0.1 ms, the last one all above. */
export const JITTER_CLASSES = 200;
/** Width of a class of the histogram, in ms. */
export const JITTER_CLASS_MS = 0.1;

/** Where the counters are, all since the thread's start or the last `resetCounters`. */
export const COUNTERS = {
  /** Cycles that ran. */
  cycles: 0,
  /** Deadlines that passed before their cycle began or its exchange ended; they are skipped, never made up. */
  missed: 1,
  /** Cycles whose servos did not all answer, after retries. */
  incomplete: 2,
  /** Answers that were asked for again, by cycles, health and calls. */
  retries: 3,
  /** Cycles that wrote the goals of the cycle before, since no newer setpoint was there or allowed. */
  repeated: 4,
  /** Cycles that wrote another Goal_Position than the cycle before. */
  moved: 5,
  /** When that last happened, in ms of `sharedNowMs`; 0 if never. */
  lastMovedMs: 6,
  /** When an emergency stop was first seen by the bus thread since the latch was last open; 0 if never. */
  stopSeenMs: 7,
  /** Times the port was opened after the first. */
  reconnects: 8,
  /** Longest exchange of a cycle, in ms. */
  longestExchangeMs: 9,
  /** Start of a cycle after its deadline: cycles by class of 0.1 ms, `[200]`. */
  jitter: 10,
  /** Numbers in all. */
  length: 10 + JITTER_CLASSES,
} as const;

/** Fresh memory of one bus. */
export function createBusMemory(): BusMemory {
  return {
    setpoint: createRecordMemory(SETPOINT.length),
    state: createRecordMemory(STATE.length),
    health: createRecordMemory(HEALTH.length),
    counters: createRecordMemory(COUNTERS.length),
  };
}

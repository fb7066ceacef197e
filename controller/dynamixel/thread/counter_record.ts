/**
 * The bus thread's end of its counters.
 *
 * @module
 */

import { SharedRecord, type SharedRecordMemory } from "../../threads/shared_record.ts";
import { COUNTERS, JITTER_CLASS_MS, JITTER_CLASSES } from "./bus_memory.ts";

/** A counter, or a time, that is one number. */
export type CounterName = Exclude<keyof typeof COUNTERS, "jitter" | "length">;

/** Counters that are published once a cycle. */
export class CounterRecord {
  readonly #record: SharedRecord;
  readonly #values = new Float64Array(COUNTERS.length);

  /** All at 0. @param memory Of the bus's counters. */
  constructor(memory: SharedRecordMemory) {
    this.#record = new SharedRecord(memory);
    this.publish();
  }

  /** Value of a counter. */
  get(name: CounterName): number {
    return this.#values[COUNTERS[name]];
  }

  /** Count. @param name What. @param times How often. */
  add(name: CounterName, times = 1): void {
    this.#values[COUNTERS[name]] += times;
  }

  /** Set a counter or time. @param name Which. @param value To what. */
  set(name: CounterName, value: number): void {
    this.#values[COUNTERS[name]] = value;
  }

  /** Count a cycle that began so long after its deadline. @param lateMs Lateness in ms, 0 or more. */
  addJitter(lateMs: number): void {
    const index = Math.min(JITTER_CLASSES - 1, Math.max(0, Math.floor(lateMs / JITTER_CLASS_MS)));
    this.#values[COUNTERS.jitter + index]++;
  }

  /** Everything back to 0. */
  reset(): void {
    this.#values.fill(0);
    this.publish();
  }

  /** Show the counters to other threads. */
  publish(): void {
    this.#record.write(this.#values);
  }
}

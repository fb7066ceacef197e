/**
 * The motion thread's end of a bus: where the servos shall be at next.
 *
 * @module
 */

import { sharedNowMs } from "../../threads/clock.ts";
import { SharedRecord } from "../../threads/shared_record.ts";
import { type BusMemory, GOAL_IDS, SETPOINT } from "./bus_memory.ts";

/** Writes setpoints. One thread alone may have one for a bus. */
export class SetpointWriter {
  readonly #record: SharedRecord;
  readonly #values = new Float64Array(SETPOINT.length);

  /** Has written nothing. @param memory Of a bus. */
  constructor(memory: BusMemory) {
    this.#record = new SharedRecord(memory.setpoint);
  }

  /**
   * Write a setpoint.
   *
   * @param ticks Goals `[7]`, or one for all.
   * @param timeMs When it was made; now unless told.
   */
  write(ticks: number | ArrayLike<number>, timeMs: number = sharedNowMs()): void {
    this.#values[SETPOINT.timeMs] = timeMs;
    for (let i = 0; i < GOAL_IDS.length; i++) {
      this.#values[SETPOINT.ticks + i] = typeof ticks === "number" ? ticks : ticks[i];
    }
    this.#record.write(this.#values);
  }
}

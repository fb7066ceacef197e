/**
 * The bus thread's eye on the emergency stop: when it was seen, when it was opened, and torque that is
 * cut for as long as `torque-off` is in force.
 *
 * @module
 */

import { sharedNowMs } from "../../threads/clock.ts";
import type { StopMode } from "../../safety/emergency_stop.ts";
import type { StopLatch } from "../../safety/stop_latch.ts";
import type { DynamixelBus } from "../bus.ts";
import { CONTROL_TABLE } from "../control_table.ts";
import { SERVO_IDS } from "./bus_memory.ts";
import type { CounterRecord } from "./counter_record.ts";

/** How often torque is cut again while the stop is in force: nobody answers, and a packet may be lost. */
const TORQUE_OFF_EVERY_MS = 100;
const TORQUE_OFF_ROWS: ReadonlyMap<number, Uint8Array> = new Map(
  SERVO_IDS.map((id) => [id, Uint8Array.of(0)]),
);

/** Watches one latch for one bus. */
export class StopGuard {
  readonly #latch: StopLatch;
  readonly #counters: CounterRecord;
  #seen: StopMode | null = null;
  #openedMs = -Infinity;
  #torqueOffMs = -Infinity;

  /**
   * Nothing has been seen yet.
   *
   * @param latch The latch.
   * @param counters Takes the time at which a stop is first seen.
   */
  constructor(latch: StopLatch, counters: CounterRecord) {
    this.#latch = latch;
    this.#counters = counters;
  }

  /** The stop as it was last seen; null when there was none. */
  get seen(): StopMode | null {
    return this.#seen;
  }

  /** When the latch was seen to be open again, in ms of `sharedNowMs`; −∞ if it was never shut. */
  get openedMs(): number {
    return this.#openedMs;
  }

  /**
   * Look at the latch, and cut torque if that is due.
   *
   * @param bus An open bus.
   * @returns The stop in force.
   * @throws {BusError} On the port.
   */
  enforce(bus: DynamixelBus): StopMode | null {
    const stop = this.look();
    if (stop !== "torque-off") return stop;
    const nowMs = sharedNowMs();
    if (nowMs - this.#torqueOffMs >= TORQUE_OFF_EVERY_MS) {
      const { address, bytes } = CONTROL_TABLE.torqueEnable;
      bus.syncWrite(address, bytes, TORQUE_OFF_ROWS);
      this.#torqueOffMs = nowMs;
    }
    return stop;
  }

  /** Look at the latch only. @returns The stop in force. */
  look(): StopMode | null {
    const stop = this.#latch.mode;
    if (stop === this.#seen) return stop;
    if (this.#seen === null) {
      this.#counters.set("stopSeenMs", sharedNowMs());
      // Torque may have been turned on again since the stop before.
      this.#torqueOffMs = -Infinity;
    }
    if (stop === null) this.#openedMs = sharedNowMs();
    this.#seen = stop;
    return stop;
  }

  /**
   * Sleep until a time or until the latch changes. Blocks the thread.
   *
   * @param untilMs In ms of `sharedNowMs`.
   * @returns Whether the latch has changed.
   */
  sleepUntil(untilMs: number): boolean {
    return this.#latch.sleep(untilMs - sharedNowMs(), this.#seen);
  }
}

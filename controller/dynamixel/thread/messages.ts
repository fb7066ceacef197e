/**
 * What a bus's thread and its owner say to each other.
 *
 * @module
 */

import type { BusFault, PingReply } from "../bus.ts";
import type { ControlItemName } from "../control_table.ts";
import type { OpenBusOptions } from "../open_bus.ts";
import type { StopLatchMemory } from "../../safety/stop_latch.ts";
import type { BusMemory } from "./bus_memory.ts";

/** Rates at which a bus can be cycled, in Hz. */
export const BUS_RATES_HZ = [50, 100, 200] as const;

/** One of {@link BUS_RATES_HZ}. */
export type BusRateHz = (typeof BUS_RATES_HZ)[number];

/**
 * What a bus's cycles do: nothing, so that calls have the bus for themselves; read the servos; or write
 * their goals and read them.
 */
export type BusMode = "idle" | "monitor" | "drive";

/** Something that a bus's owner should know. */
export type BusEvent =
  /** The port is gone, or the thread itself (final): the mode is idle, calls reject. */
  | { readonly kind: "lost"; readonly sentence: string; readonly isFinal: boolean }
  /** The port is open again; the mode stays idle, because the servos have to be checked again. */
  | { readonly kind: "back"; readonly sentence: string }
  /** Servos that have not answered for 100 ms. */
  | { readonly kind: "silent"; readonly ids: readonly number[] }
  /** Servos that answer again. */
  | { readonly kind: "heard"; readonly ids: readonly number[] }
  /** The thread has changed its mode by itself: an emergency stop has turned torque off. */
  | { readonly kind: "mode"; readonly mode: BusMode };

/** What may be asked of a single servo. */
export type ServoCall =
  | { readonly kind: "ping"; readonly id: number }
  | { readonly kind: "read"; readonly id: number; readonly item: ControlItemName }
  | {
    readonly kind: "write";
    readonly id: number;
    readonly item: ControlItemName;
    readonly value: number;
  }
  | { readonly kind: "reboot"; readonly id: number };

/** What a call gives: the reply to a ping, the value read, or nothing. */
export type CallValue = PingReply | number | undefined;

/** What the thread is started with. */
export interface BusThreadSetup {
  /** Device, driver and its settings. */
  readonly openBus: OpenBusOptions;
  /** Cycles a second. */
  readonly rateHz: BusRateHz;
  /** A deadline of the cycles, in ms of `sharedNowMs`. */
  readonly epochMs: number;
  /** The emergency stop. */
  readonly latch: StopLatchMemory;
  /** Where setpoints come from, and states, health and counters go. */
  readonly memory: BusMemory;
}

/** To the thread. `call` numbers a question for its answer. */
export type BusRequest =
  | { readonly kind: "open"; readonly setup: BusThreadSetup }
  | { readonly kind: "servo"; readonly call: number; readonly request: ServoCall }
  | { readonly kind: "mode"; readonly call: number; readonly mode: BusMode }
  | { readonly kind: "resetCounters"; readonly call: number }
  | { readonly kind: "stop" };

/** Why something failed, as a message can carry it. Without a fault it is a RangeError. */
export interface Failure {
  /** One sentence. */
  readonly message: string;
  /** What went wrong on the bus. */
  readonly fault?: BusFault;
}

/** From the thread. */
export type BusReply =
  | { readonly kind: "opened"; readonly reason: string; readonly realtime: string }
  | { readonly kind: "notOpened"; readonly failure: Failure }
  | { readonly kind: "done"; readonly call: number; readonly value?: CallValue }
  | { readonly kind: "failed"; readonly call: number; readonly failure: Failure }
  | { readonly kind: "event"; readonly event: BusEvent }
  /** The thread cannot go on. */
  | { readonly kind: "crashed"; readonly message: string }
  | { readonly kind: "stopped" };

/**
 * What goes between the program that wants emulated buses and the thread that serves them.
 *
 * @module
 */

import type { ArmName } from "../../../common/robot/aloha.ts";
import type { ControlItemName } from "../control_table.ts";
import type { Surroundings } from "./body.ts";
import type { FaultRates } from "./faults.ts";
import type { ServoOptions } from "./servo.ts";

/** A bus to emulate. */
export interface EmulatedBusSpec {
  /** Its servos. */
  readonly servos: readonly ServoOptions[];
  /** Whose weight its servos carry; those of a bare bus carry nothing. */
  readonly arm?: ArmName;
  /** A symbolic link to keep on its device, as udev does on a robot; made and removed here. */
  readonly linkPath?: string;
  /** Seed of its faults. 0 unless told. */
  readonly seed?: number;
}

/** Something to do to a bus while it runs. IDs are those of servos. */
export type EmulatorCommand =
  /** Faults from now on. */
  | { readonly kind: "faults"; readonly rates: FaultRates }
  /** Take a servo's cable away. */
  | { readonly kind: "vanish"; readonly id: number }
  /** Plug a servo in again, with or without its power having gone. */
  | { readonly kind: "bringBack"; readonly id: number; readonly hasLostPower: boolean }
  /** Pull the bus's adapter out: the device hangs up and goes away. */
  | { readonly kind: "unplug" }
  /** Put the adapter in again: a device comes, at the same link but maybe another path. */
  | { readonly kind: "plug" }
  /** Value of an item. */
  | { readonly kind: "get"; readonly id: number; readonly item: ControlItemName }
  /** Set an item past the servo's rules. */
  | {
    readonly kind: "set";
    readonly id: number;
    readonly item: ControlItemName;
    readonly value: number;
  }
  /** Change what the world does to a servo. */
  | { readonly kind: "surround"; readonly id: number; readonly change: Partial<Surroundings> }
  /** Set a motor's temperature. */
  | { readonly kind: "temperature"; readonly id: number; readonly temperatureC: number }
  /** Let hardware errors happen. */
  | { readonly kind: "hardwareError"; readonly id: number; readonly bits: number }
  /** Let time leap forward for the whole bus, by 0–10,000 ms. */
  | { readonly kind: "advance"; readonly ms: number };

/** To the thread. */
export type EmulatorRequest =
  | {
    readonly kind: "start";
    readonly buses: readonly EmulatedBusSpec[];
    /** For each bus, an int32 for each servo: its Present_Position. */
    readonly positions: readonly SharedArrayBuffer[];
  }
  | {
    readonly kind: "command";
    /** Number of the command, for its answer. */
    readonly call: number;
    /** Index of the bus. */
    readonly bus: number;
    /** What to do. */
    readonly command: EmulatorCommand;
  }
  | { readonly kind: "stop" };

/** From the thread. */
export type EmulatorReply =
  | { readonly kind: "ready"; readonly ports: readonly string[] }
  | { readonly kind: "refused"; readonly message: string }
  | { readonly kind: "done"; readonly call: number; readonly value: number | string | undefined }
  | { readonly kind: "failed"; readonly call: number; readonly message: string }
  | { readonly kind: "stopped" };

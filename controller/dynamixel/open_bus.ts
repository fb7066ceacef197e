/**
 * Opens a Dynamixel bus with the driver that a person wants or, left to itself, the better one at hand.
 *
 * @module
 */

import { BuiltinBus } from "./builtin/builtin_bus.ts";
import type { DynamixelBus } from "./bus.ts";
import { findDxlLibrary, isFile } from "./sdk/find_library.ts";
import { SdkBus } from "./sdk/sdk_bus.ts";

/** Names of the drivers for `--dxl-driver`; `auto` takes `sdk` where its library is found. */
export const DRIVER_CHOICES = ["auto", "sdk", "builtin"] as const;

/** One of {@link DRIVER_CHOICES}. */
export type DriverChoice = (typeof DRIVER_CHOICES)[number];

/** What is to be opened. */
export interface OpenBusOptions {
  /** Device, such as /dev/ttyDXL_puppet_left. */
  readonly port: string;
  /** Bits a second; ALOHA's servos have 1,000,000. */
  readonly baudRate: number;
  /** Driver; `auto` unless told. */
  readonly driver?: DriverChoice;
  /** Path of ROBOTIS' library from the command line (`--dxl-library`); empty for none. */
  readonly library?: string;
  /** The same from the environment variable `TENDON_DXL_LIBRARY`; empty for none. */
  readonly libraryVariable?: string;
  /** Times a lost or broken answer is asked for again, 0–10. Default 1. */
  readonly retries?: number;
  /** No attempt begins that could end later than this after the first began, ms. Default: no bound. */
  readonly budgetMs?: number;
  /** Allowance for the adapter and the system in each exchange, ms. Default 6. */
  readonly latencyMs?: number;
  /** The largest Return_Delay_Time among the servos, ms. Default 0.5. */
  readonly returnDelayMs?: number;
  /** The embedded driver asks with Fast Sync Read, which every servo must know. Default false. */
  readonly hasFastSyncRead?: boolean;
}

/** Which driver to take, and why. */
export type DriverDecision =
  | { readonly driver: "sdk"; readonly library: string; readonly reason: string }
  | { readonly driver: "builtin"; readonly reason: string };

/** An open bus, and why it has the driver that it has. */
export interface OpenedBus {
  /** The bus, which is the caller's to dispose of. */
  readonly bus: DynamixelBus;
  /** One sentence for the log. */
  readonly reason: string;
}

/**
 * Decide on a driver.
 *
 * @param options What the person wants.
 * @param find Looks for the library; the usual search unless told.
 * @returns The driver and why.
 * @throws {Error} The library was asked for and is not there; the sentence says what to do.
 */
export function chooseDriver(
  options: Pick<OpenBusOptions, "driver" | "library" | "libraryVariable">,
  find: typeof findDxlLibrary = findDxlLibrary,
): DriverDecision {
  const { driver = "auto", library, libraryVariable } = options;
  if (driver === "builtin") {
    return { driver, reason: "Taking the embedded driver, as --dxl-driver says" };
  }
  const { os, arch } = Deno.build;
  const finding = find({ flag: library, variable: libraryVariable, os, arch, isFile });
  if (finding.path !== undefined) {
    const { path, origin } = finding;
    return { driver: "sdk", library: path, reason: `Taking ROBOTIS' library ${path} (${origin})` };
  }
  // Who names a library wants that one: the embedded driver in its place would be a surprise.
  const isNamed = (library ?? "") !== "" || (libraryVariable ?? "") !== "";
  if (driver === "sdk" || isNamed) throw new Error(finding.sentence);
  return { driver: "builtin", reason: `Taking the embedded driver: ${finding.sentence}` };
}

/**
 * Open a bus.
 *
 * @param options The port, its speed and the driver.
 * @returns The bus and why it has its driver.
 * @throws {BusError} The device is missing or gone, may not be opened (`device`), or another program
 *   has it (`busy`); the sentence says what to do.
 * @throws {Error} The library is not there or cannot be loaded, or no driver runs on this system.
 */
export function openBus(options: OpenBusOptions): OpenedBus {
  const decision = chooseDriver(options);
  const { port, baudRate, retries = 1, latencyMs = 6, returnDelayMs = 0.5 } = options;
  const { budgetMs = Infinity, hasFastSyncRead = false } = options;
  const settings = { port, baudRate, retries, budgetMs, latencyMs, returnDelayMs };
  const bus = decision.driver === "sdk"
    ? new SdkBus({ ...settings, library: decision.library })
    : new BuiltinBus({ ...settings, hasFastSyncRead });
  return { bus, reason: decision.reason };
}

/**
 * The servos' own guard against a dead controller: Bus_Watchdog (ROBOTIS e-manual, X series). A servo
 * with torque that hears nothing for so long stops by itself, and takes no goals until it is cleared.
 *
 * @module
 */

import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { servoLabel } from "./servo_faults.ts";
import { SERVO_LAYOUT } from "./servo_layout.ts";

/** What one unit of Bus_Watchdog is, in ms. */
export const WATCHDOG_UNIT_MS = 20;

/** Silence after which servos stop, in units: 80 ms, four cycles of 50 Hz. */
export const WATCHDOG_UNITS = 4;

/** Times that arming is begun anew when a watchdog has expired meanwhile, on a busy machine. */
const ATTEMPTS = 5;

const ALL_IDS = SERVO_LAYOUT.map(({ id }) => id);

/**
 * Arm the watchdogs. From now on the bus must not be silent for longer while torque is on.
 *
 * @param servos The arm's bus.
 * @param units Silence allowed, 1–127 units of 20 ms.
 * @param ids The servos; all nine unless told.
 * @throws {RangeError} The units are out of range.
 * @throws {Error} A watchdog does not keep what is written to it.
 * @throws {BusError} A servo does not answer, or refuses.
 */
export async function armWatchdog(
  servos: ServoAccess,
  units: number = WATCHDOG_UNITS,
  ids: readonly number[] = ALL_IDS,
): Promise<void> {
  if (!(Number.isInteger(units) && units >= 1 && units <= 127)) {
    throw new RangeError(`Cannot arm the watchdogs with ${units} units, expected 1–127 of 20 ms`);
  }
  let wrong: readonly WatchdogReading[] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // An expired one takes nothing but 0, and a shadow that refuses says nothing: clear them all first.
    await disarmWatchdog(servos, ids);
    for (const id of ids) await servos.write(id, "busWatchdog", units);
    wrong = await findOthers(servos, ids, units);
    if (wrong.length === 0) return;
    if (wrong.some(({ value }) => value !== -1)) break;
  }
  throw watchdogError(servos, wrong, units);
}

/**
 * Switch the watchdogs off and clear those that have expired.
 *
 * @param servos The arm's bus.
 * @param ids The servos; all nine unless told.
 * @throws {Error} A watchdog does not keep what is written to it.
 * @throws {BusError} A servo does not answer, or refuses.
 */
export async function disarmWatchdog(
  servos: ServoAccess,
  ids: readonly number[] = ALL_IDS,
): Promise<void> {
  for (const id of ids) await servos.write(id, "busWatchdog", 0);
  const wrong = await findOthers(servos, ids, 0);
  if (wrong.length > 0) throw watchdogError(servos, wrong, 0);
}

interface WatchdogReading {
  readonly id: number;
  readonly value: number;
}

async function findOthers(
  servos: ServoAccess,
  ids: readonly number[],
  wanted: number,
): Promise<WatchdogReading[]> {
  const others: WatchdogReading[] = [];
  for (const id of ids) {
    const value = await servos.read(id, "busWatchdog");
    if (value !== wanted) others.push({ id, value });
  }
  return others;
}

function watchdogError(
  servos: ServoAccess,
  wrong: readonly WatchdogReading[],
  wanted: number,
): Error {
  const list = wrong.map(({ id, value }) => `${servoLabel(null, id)} reads ${value}`);
  return new Error(
    `Cannot set the watchdogs on ${servos.port} to ${wanted}: ${list.join(", ")}; a watchdog at ` +
      "−1 has expired, since the bus was silent for too long; check the machine's load and the cables",
  );
}

/**
 * The servos' own guard against a dead controller: Bus_Watchdog (ROBOTIS e-manual, X series). A servo
 * with torque that hears nothing for so long stops by itself, and takes no goals until it is cleared.
 *
 * @module
 */

import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { servoLabel } from "./servo_faults.ts";
import { isSilence } from "./servo_silence.ts";
import { SERVO_LAYOUT } from "./servo_layout.ts";

/** What one unit of Bus_Watchdog is, in ms. */
export const WATCHDOG_UNIT_MS = 20;

/** Silence after which servos stop, in units: 80 ms, four cycles of 50 Hz. */
export const WATCHDOG_UNITS = 4;

/** Times that setting is begun anew: a watchdog may expire meanwhile, or a packet be lost. */
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
    wrong = await setAll(servos, ids, units);
    if (wrong.length === 0) return;
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
  let wrong = await setAll(servos, ids, 0);
  // A packet to one of them may have been lost: nothing else can keep a watchdog from being switched off.
  if (wrong.length > 0) wrong = await setAll(servos, ids, 0);
  if (wrong.length > 0) throw watchdogError(servos, wrong, 0);
}

interface WatchdogReading {
  readonly id: number;
  readonly value: number;
}

/** Write all at once, and find those that read something else. A silent servo is asked again. */
async function setAll(
  servos: ServoAccess,
  ids: readonly number[],
  units: number,
): Promise<WatchdogReading[]> {
  for (let attempt = 1;; attempt++) {
    try {
      const writes = ids.map((id) => servos.write(id, "busWatchdog", units));
      const reads = ids.map((id) => servos.read(id, "busWatchdog"));
      const [, are] = await Promise.all([Promise.all(writes), Promise.all(reads)]);
      return are.flatMap((value, i) => value === units ? [] : [{ id: ids[i], value }]);
    } catch (error) {
      if (!isSilence(error) || attempt >= ATTEMPTS) throw error;
    }
  }
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

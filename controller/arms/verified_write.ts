/**
 * Reads and writes of single servos that bear a lost packet; a write is believed once it is read back.
 *
 * What belongs together is asked for at once, because a bus that runs cycles serves calls between two of
 * them: one after the other, each would wait for a cycle of its own.
 *
 * @module
 */

import type { ControlItemName } from "../dynamixel/control_table.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { servoLabel } from "./servo_faults.ts";
import { isSilence } from "./servo_silence.ts";

/** Times that something is tried on a servo that does not answer; the bus tries each twice itself. */
const ATTEMPTS = 3;

/** Items and what they shall be, in the order in which they are written. */
export type ItemValues = readonly (readonly [item: ControlItemName, value: number])[];

/**
 * Read items of one servo.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param items The items.
 * @returns Their values, in the items' units and order.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function readItems(
  servos: ServoAccess,
  id: number,
  items: readonly ControlItemName[],
): Promise<number[]> {
  for (let attempt = 1;; attempt++) {
    try {
      return await Promise.all(items.map((item) => servos.read(id, item)));
    } catch (error) {
      if (!isSilence(error) || attempt >= ATTEMPTS) throw error;
    }
  }
}

/**
 * Read one item.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param item The item.
 * @returns Its value, in the item's unit.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function readItem(
  servos: ServoAccess,
  id: number,
  item: ControlItemName,
): Promise<number> {
  return (await readItems(servos, id, [item]))[0];
}

/**
 * Write items of one servo and read them back.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param values The items and their values.
 * @throws {Error} An item reads another value after it, each time.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function writeVerified(
  servos: ServoAccess,
  id: number,
  values: ItemValues,
): Promise<void> {
  let wrong: string[] = [];
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      const writes = values.map(([item, value]) => servos.write(id, item, value));
      const reads = values.map(([item]) => servos.read(id, item));
      const [, are] = await Promise.all([Promise.all(writes), Promise.all(reads)]);
      wrong = values.flatMap(([item, value], i) =>
        are[i] === value ? [] : [`${item} reads ${are[i]} after ${value} was written`]
      );
      if (wrong.length === 0) return;
    } catch (error) {
      if (!isSilence(error) || attempt >= ATTEMPTS) throw error;
    }
  }
  throw new Error(
    `Cannot set ${servoLabel(null, id)} on ${servos.port}: ${
      wrong.join(", ")
    }; check the servo's ` +
      "cable, then restart the servo",
  );
}

/**
 * Write items of the EEPROM that differ, which a servo allows with its torque off alone.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param values The items and what they must be.
 * @param isDryRun Nothing is written.
 * @returns What was changed, or would be; empty when all is right already.
 * @throws {Error} An item is wrong while torque is on, or reads another value after the write.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function correctEeprom(
  servos: ServoAccess,
  id: number,
  values: ItemValues,
  isDryRun: boolean,
): Promise<string[]> {
  const items = values.map(([item]) => item);
  const [torque, ...are] = await readItems(servos, id, ["torqueEnable", ...items]);
  const changes: string[] = [];
  for (const [i, [item, value]] of values.entries()) {
    if (are[i] === value) continue;
    const what = `${item} of ${servoLabel(null, id)} on ${servos.port}`;
    if (torque === 1) {
      throw new Error(
        `Cannot set ${what}: it is ${
          are[i]
        }, must be ${value}, and the torque is on; lay the arm ` +
          "down and run `deno task robot torque-off`",
      );
    }
    if (!isDryRun) await writeVerified(servos, id, [[item, value]]);
    changes.push(`${isDryRun ? "would set" : "set"} ${what} from ${are[i]} to ${value}`);
  }
  return changes;
}

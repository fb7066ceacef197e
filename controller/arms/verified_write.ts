/**
 * Writes to single servos that are believed only once they have been read back.
 *
 * @module
 */

import type { ControlItemName } from "../dynamixel/control_table.ts";
import type { ServoAccess } from "../dynamixel/thread/servo_access.ts";
import { servoLabel } from "./servo_faults.ts";

/**
 * Write an item and read it back.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param item The item.
 * @param value Its new value, in the item's unit.
 * @throws {Error} The item reads another value after it.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function writeVerified(
  servos: ServoAccess,
  id: number,
  item: ControlItemName,
  value: number,
): Promise<void> {
  await servos.write(id, item, value);
  const is = await servos.read(id, item);
  if (is === value) return;
  throw new Error(
    `Cannot set ${item} of ${servoLabel(null, id)} on ${servos.port}: it reads ${is} after ` +
      `${value} was written; check the servo's cable, then restart the servo`,
  );
}

/**
 * Write an item of the EEPROM when it differs, which a servo allows with its torque off alone.
 *
 * @param servos The bus.
 * @param id The servo.
 * @param item The item.
 * @param value What it must be.
 * @param isDryRun Nothing is written.
 * @returns What was changed, or would be; null when the item is right already.
 * @throws {Error} The item is wrong while torque is on, or reads another value after the write.
 * @throws {BusError} The servo does not answer, or refuses.
 */
export async function correctEeprom(
  servos: ServoAccess,
  id: number,
  item: ControlItemName,
  value: number,
  isDryRun: boolean,
): Promise<string | null> {
  const is = await servos.read(id, item);
  if (is === value) return null;
  const what = `${item} of ${servoLabel(null, id)} on ${servos.port}`;
  if (await servos.read(id, "torqueEnable") === 1) {
    throw new Error(
      `Cannot set ${what}: it is ${is}, must be ${value}, and the torque is on; lay the arm down ` +
        "and run `deno task robot torque-off`",
    );
  }
  if (isDryRun) return `would set ${what} from ${is} to ${value}`;
  await writeVerified(servos, id, item, value);
  return `set ${what} from ${is} to ${value}`;
}

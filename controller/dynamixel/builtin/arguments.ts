/**
 * Checks of what a bus is asked, the same for both drivers.
 *
 * @module
 */

import { MAX_SERVO_ID } from "../protocol/packet.ts";

/** Most bytes of one item; a status packet of 1,024 with all bytes stuffed holds it. */
export const MAX_ITEM_BYTES = 512;

/**
 * Check the ID of one servo.
 *
 * @param id An ID.
 * @throws {RangeError} It is not 0–252.
 */
export function checkId(id: number): void {
  if (!Number.isInteger(id) || id < 0 || id > MAX_SERVO_ID) {
    throw new RangeError(`Cannot address servo ${id}: an ID is 0–${MAX_SERVO_ID}`);
  }
}

/**
 * Check a stretch of the control table.
 *
 * @param address First address.
 * @param length Bytes.
 * @throws {RangeError} The address is not 0–65535 or the length is not 1–512.
 */
export function checkItem(address: number, length: number): void {
  if (!Number.isInteger(address) || address < 0 || address > 0xffff) {
    throw new RangeError(`Cannot use address ${address} of a servo: it is 0–65535`);
  }
  if (!Number.isInteger(length) || length < 1 || length > MAX_ITEM_BYTES) {
    throw new RangeError(`Cannot use ${length} bytes of a servo's table: 1–${MAX_ITEM_BYTES}`);
  }
}

/**
 * Check the servos of a sync read.
 *
 * @param ids IDs, each at most once.
 * @throws {RangeError} One is out of range or there twice.
 */
export function checkIds(ids: readonly number[]): void {
  ids.forEach(checkId);
  if (new Set(ids).size !== ids.length) {
    throw new RangeError(`Cannot read servos ${ids.join(", ")}: an ID is there twice`);
  }
}

/**
 * Check the rows of a sync write.
 *
 * @param address First address.
 * @param length Bytes a row.
 * @param rows Bytes by ID.
 * @throws {RangeError} An ID, the address or a length is out of range.
 */
export function checkRows(
  address: number,
  length: number,
  rows: ReadonlyMap<number, Uint8Array>,
): void {
  checkItem(address, length);
  for (const [id, data] of rows) {
    checkId(id);
    if (data.length !== length) {
      throw new RangeError(
        `Cannot sync-write servo ${id}: it has ${data.length} bytes, expected ${length}`,
      );
    }
  }
}

/**
 * A servo's memory behind its control table: values by name, and the rules of reading and writing
 * from the bus.
 *
 * @module
 */

import {
  CONTROL_TABLE_BYTES,
  type ControlItem,
  type ControlItemName,
  type ControlTable,
  controlTableOf,
  decodeItem,
  encodeItem,
  type ServoModel,
} from "../control_table.ts";
import { STATUS_ERROR, type StatusErrorNumber } from "../protocol/status_error.ts";

/** What a write would do, or the number of the error that stops it. */
export type PlannedWrite =
  | { readonly error: typeof STATUS_ERROR.none; readonly values: Map<ControlItemName, number> }
  | { readonly error: Exclude<StatusErrorNumber, typeof STATUS_ERROR.none> };

/** Memory of one servo, with the values of a new one. */
export class Registers {
  /** Items of the servo's model. */
  readonly table: ControlTable;
  readonly #bytes = new Uint8Array(CONTROL_TABLE_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #names = new Map<number, ControlItemName>();

  /**
   * Memory of a new servo.
   *
   * @param model Model of the servo.
   */
  constructor(model: ServoModel) {
    this.table = controlTableOf(model);
    for (const name of this.names) {
      this.#names.set(this.table[name].address, name);
      this.set(name, this.table[name].initial);
    }
  }

  /** Names of all items. */
  get names(): ControlItemName[] {
    return Object.keys(this.table) as ControlItemName[];
  }

  /**
   * Value of an item.
   *
   * @param name Which item.
   * @returns Its value in the item's unit.
   */
  get(name: ControlItemName): number {
    // A servo looks at its items a thousand times a second, so this goes straight to the memory.
    const { address, bytes, isSigned } = this.table[name];
    if (bytes === 4) return this.#view.getInt32(address, true);
    if (bytes === 2) {
      return isSigned ? this.#view.getInt16(address, true) : this.#view.getUint16(address, true);
    }
    return isSigned ? this.#view.getInt8(address) : this.#view.getUint8(address);
  }

  /**
   * Set an item past every rule, as the servo itself does.
   *
   * @param name Which item.
   * @param value Its value in the item's unit.
   * @throws {RangeError} The value does not fit the item's bytes.
   */
  set(name: ControlItemName, value: number): void {
    if (this.get(name) === value) return;
    const item = this.table[name];
    this.#bytes.set(encodeItem(item, value), item.address);
  }

  /** Give every item of the RAM its initial value. */
  resetRam(): void {
    for (const name of this.names) {
      if (this.table[name].area === "ram") this.set(name, this.table[name].initial);
    }
  }

  /**
   * Copy a stretch of memory; gaps between items read 0.
   *
   * @param address First address.
   * @param length Number of bytes.
   * @returns The bytes, or undefined when the stretch is empty or reaches past the table.
   */
  read(address: number, length: number): Uint8Array | undefined {
    if (length < 1 || address + length > CONTROL_TABLE_BYTES) return undefined;
    return this.#bytes.slice(address, address + length);
  }

  /**
   * Check a write from the bus, which may span several items; nothing is changed.
   *
   * @param address First address; an item must begin there.
   * @param data The bytes.
   * @param isEepromLocked No item of the EEPROM may be written.
   * @returns The items and values, or the error number.
   */
  plan(address: number, data: Uint8Array, isEepromLocked: boolean): PlannedWrite {
    const values = new Map<ControlItemName, number>();
    for (let offset = 0; offset < data.length;) {
      const name = this.#names.get(address + offset);
      if (name === undefined) return { error: STATUS_ERROR.access };
      const item = this.table[name];
      if (item.access === "r") return { error: STATUS_ERROR.access };
      if (item.area === "eeprom" && isEepromLocked) return { error: STATUS_ERROR.access };
      if (offset + item.bytes > data.length) return { error: STATUS_ERROR.dataLength };
      const value = decodeItem(item, data, offset);
      const error = this.#valueError(name, item, value);
      if (error !== STATUS_ERROR.none) return { error };
      values.set(name, value);
      offset += item.bytes;
    }
    if (values.size === 0) return { error: STATUS_ERROR.dataLength };
    return { error: STATUS_ERROR.none, values };
  }

  #valueError(name: ControlItemName, item: ControlItem, value: number): StatusErrorNumber {
    if (name === "operatingMode" && !OPERATING_MODES.includes(value)) return STATUS_ERROR.dataRange;
    if (value < item.min || value > item.max) return STATUS_ERROR.dataRange;
    const [low, high] = this.#limits(name);
    return value < low || value > high ? STATUS_ERROR.dataLimit : STATUS_ERROR.none;
  }

  /** Bounds that other items of this servo set. */
  #limits(name: ControlItemName): readonly [number, number] {
    switch (name) {
      case "goalPwm":
        return [-this.get("pwmLimit"), this.get("pwmLimit")];
      case "goalCurrent":
        return [-this.get("currentLimit"), this.get("currentLimit")];
      case "goalVelocity":
        return [-this.get("velocityLimit"), this.get("velocityLimit")];
      case "goalPosition":
        // Modes of several turns know no position limits.
        if (this.get("operatingMode") !== POSITION_MODE) return [-Infinity, Infinity];
        return [this.get("minPositionLimit"), this.get("maxPositionLimit")];
      default:
        return [-Infinity, Infinity];
    }
  }
}

/** Operating mode of one turn between the position limits. */
export const POSITION_MODE = 3;

/** Operating mode of several turns in which Goal_Current limits the current. */
export const CURRENT_POSITION_MODE = 5;

/** Current, velocity, position, extended position, current-based position, PWM. */
const OPERATING_MODES: readonly number[] = [0, 1, POSITION_MODE, 4, CURRENT_POSITION_MODE, 16];

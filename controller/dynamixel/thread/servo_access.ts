/**
 * What the rest of the controller may ask of a bus: single servos, between its cycles.
 *
 * @module
 */

import type { ControlItemName } from "../control_table.ts";
import type { PingReply } from "../bus.ts";

/**
 * Single servos of one bus. Every call rejects with a `BusError` that names servo and port. Calls are
 * carried out in the order in which they are made; several may wait at once.
 */
export interface ServoAccess {
  /** The device, such as /dev/ttyDXL_puppet_left. */
  readonly port: string;
  /** Ask a servo who it is. */
  ping(id: number): Promise<PingReply>;
  /** Value of an item; rejects when the servo refuses, too. */
  read(id: number, item: ControlItemName): Promise<number>;
  /** Write an item; rejects when the servo refuses, with the reason in words. */
  write(id: number, item: ControlItemName, value: number): Promise<void>;
  /** Restart a servo, which clears its hardware errors and turns its torque off. */
  reboot(id: number): Promise<void>;
}

/**
 * Carries out what is asked of a single servo.
 *
 * @module
 */

import type { StopMode } from "../../safety/emergency_stop.ts";
import { REFUSED } from "../builtin/group_reading.ts";
import { BusError, type DynamixelBus } from "../bus.ts";
import { CONTROL_TABLE, type ControlItemName, decodeItem, encodeItem } from "../control_table.ts";
import { describeStatusError } from "../protocol/status_error.ts";
import type { CallValue, Failure, ServoCall } from "./messages.ts";

/** Items whose writing moves a servo. */
const GOAL_ITEMS: readonly ControlItemName[] = ["goalPosition", "goalVelocity", "goalPwm"];

/**
 * Carry out a call. Blocks until the servo has answered or its time is over.
 *
 * @param bus An open bus.
 * @param call What is asked.
 * @param stop The emergency stop in force: none may be undone by a call.
 * @returns What the servo says.
 * @throws {BusError} No valid answer came, the servo refused, or the stop forbids it (`refused`).
 * @throws {RangeError} No servo can be asked that: the ID or the value does not fit.
 */
export function performCall(bus: DynamixelBus, call: ServoCall, stop: StopMode | null): CallValue {
  const action = actionOf(call);
  const where = `servo ${call.id} on ${bus.port}`;
  const refuse = (why: string) => new BusError(`Cannot ${action} ${where}: ${why}`, "refused");
  const check = (error: number) => {
    // A hardware alert beside an answer is no refusal.
    if ((error & REFUSED) !== 0) throw refuse(`it refused, ${describeStatusError(error)}`);
  };
  switch (call.kind) {
    case "ping":
      return bus.ping(call.id);
    case "read": {
      const item = CONTROL_TABLE[call.item];
      const { error, data } = bus.read(call.id, item.address, item.bytes);
      check(error);
      return decodeItem(item, data);
    }
    case "write": {
      if (stop !== null && undoesStop(call.item, call.value, stop)) {
        throw refuse(`an emergency stop (${stop}) is in force; release it first`);
      }
      const item = CONTROL_TABLE[call.item];
      check(bus.write(call.id, item.address, encodeItem(item, call.value)).error);
      return undefined;
    }
    case "reboot":
      check(bus.reboot(call.id).error);
      return undefined;
    default:
      return call satisfies never;
  }
}

/**
 * An error as a message can carry it.
 *
 * @param error What was thrown.
 * @returns Its sentence, and its fault if it is a BusError.
 */
export function failureOf(error: unknown): Failure {
  if (error instanceof BusError) return { message: error.message, fault: error.fault };
  return { message: error instanceof Error ? error.message : String(error) };
}

function actionOf(call: ServoCall): string {
  switch (call.kind) {
    case "read":
      return `read ${call.item} of`;
    case "write":
      return `write ${call.value} to ${call.item} of`;
    default:
      return call.kind;
  }
}

function undoesStop(item: ControlItemName, value: number, stop: StopMode): boolean {
  return GOAL_ITEMS.includes(item) ||
    (stop === "torque-off" && item === "torqueEnable" && value !== 0);
}

/**
 * Hardware errors of an arm's servos, by name, and what a person does about them.
 *
 * Bits of Hardware_Error_Status and their meaning are those of ROBOTIS' e-manual, X series.
 *
 * @module
 */

import type { ArmName } from "../../common/robot/aloha.ts";
import { describeHardwareError, HARDWARE_ERROR } from "../dynamixel/protocol/status_error.ts";
import { layoutOf } from "./servo_layout.ts";

/** Name of one bit of Hardware_Error_Status. */
export type ServoFault = keyof typeof HARDWARE_ERROR;

/** What to do about each fault. */
const REMEDIES: Readonly<Record<ServoFault, string>> = {
  inputVoltage: "check the arm's power supply (12 V) and its plugs",
  overheating: "let the servo cool down before it is restarted",
  encoder: "restart the servo, and replace it if the fault comes back",
  electricalShock: "check the servo's cables and the arm's power supply",
  overload: "free the joint of what blocks or loads it",
};

/**
 * The faults of a status.
 *
 * @param status Hardware_Error_Status, 0–255.
 * @returns Names of the bits that are set and known.
 */
export function servoFaults(status: number): ServoFault[] {
  const names = Object.keys(HARDWARE_ERROR) as ServoFault[];
  return names.filter((name) => (status & HARDWARE_ERROR[name]) !== 0);
}

/**
 * How people call a servo.
 *
 * @param arm Which arm; null where it is not known.
 * @param id The servo, 1–9.
 * @returns Such as "left_elbow (servo 4)", or "elbow_shadow (servo 5)".
 * @throws {RangeError} An arm has no such servo.
 */
export function servoLabel(arm: ArmName | null, id: number): string {
  const { name } = layoutOf(id);
  return `${arm === null ? name : `${arm}_${name}`} (servo ${id})`;
}

/**
 * A hardware error in words, and what to do about it.
 *
 * @param status Hardware_Error_Status, not 0.
 * @returns Such as "overload; free the joint of what blocks or loads it, support the arm, …".
 */
export function describeFault(status: number): string {
  const remedies = servoFaults(status).map((fault) => REMEDIES[fault]);
  const steps = [...remedies, "support the arm", "recover the servo"].join(", ");
  return `${describeHardwareError(status)}; ${steps}`;
}

/**
 * A servo's hardware error in a sentence.
 *
 * @param arm Which arm; null where it is not known.
 * @param id The servo, 1–9.
 * @param status Hardware_Error_Status, not 0.
 * @returns Such as "left_elbow (servo 4): overload; free the joint of what …, recover the servo".
 * @throws {RangeError} An arm has no such servo.
 */
export function faultSentence(arm: ArmName | null, id: number, status: number): string {
  return `${servoLabel(arm, id)}: ${describeFault(status)}`;
}

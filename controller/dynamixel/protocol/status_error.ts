/**
 * The error byte of a status packet and the item Hardware Error Status, in words.
 * (ROBOTIS e-manual, Protocol 2.0 and the X series' control table.)
 *
 * @module
 */

/** Numbers of the errors that a servo answers with. */
export const STATUS_ERROR = {
  none: 0,
  resultFail: 1,
  instruction: 2,
  crc: 3,
  dataRange: 4,
  dataLength: 5,
  dataLimit: 6,
  access: 7,
} as const;

/** One of {@link STATUS_ERROR}. */
export type StatusErrorNumber = (typeof STATUS_ERROR)[keyof typeof STATUS_ERROR];

/** Bit of the error byte that says: look at Hardware Error Status. */
export const ALERT_BIT = 0x80;

const ERROR_WORDS = [
  "no error",
  "result fail: the instruction could not be carried out",
  "instruction error: unknown instruction, or an action without a registered write",
  "CRC error: the instruction's checksum did not fit",
  "data range error: the value is outside the item's range",
  "data length error: fewer bytes than the item has",
  "data limit error: the value is beyond a limit set on the servo",
  "access error: no such item, read-only, or locked while torque is on",
];

/** Bits of Hardware Error Status and of Shutdown. */
export const HARDWARE_ERROR = {
  inputVoltage: 0x01,
  overheating: 0x04,
  encoder: 0x08,
  electricalShock: 0x10,
  overload: 0x20,
} as const;

const HARDWARE_WORDS: readonly (readonly [number, string])[] = [
  [HARDWARE_ERROR.inputVoltage, "input voltage out of range"],
  [HARDWARE_ERROR.overheating, "overheating"],
  [HARDWARE_ERROR.encoder, "motor encoder fault"],
  [HARDWARE_ERROR.electricalShock, "electrical shock or not enough power"],
  [HARDWARE_ERROR.overload, "overload"],
];

/**
 * An error byte in words.
 *
 * @param error Error byte, 0–255.
 * @returns Such as "access error: …; hardware alert".
 */
export function describeStatusError(error: number): string {
  const number = error & ~ALERT_BIT;
  const words = ERROR_WORDS[number] ?? `unknown error ${number}`;
  if ((error & ALERT_BIT) === 0) return words;
  return number === 0 ? "hardware alert" : `${words}; hardware alert`;
}

/**
 * Hardware Error Status in words.
 *
 * @param status Value of the item, 0–255.
 * @returns Such as "overheating, overload", or "no hardware error".
 */
export function describeHardwareError(status: number): string {
  if (status === 0) return "no hardware error";
  const known = HARDWARE_WORDS.filter(([bit]) => status & bit);
  const rest = known.reduce((left, [bit]) => left & ~bit, status);
  const words = known.map(([, text]) => text);
  if (rest !== 0) words.push(`unknown bits 0x${rest.toString(16).padStart(2, "0")}`);
  return words.join(", ");
}

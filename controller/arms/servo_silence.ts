/**
 * Tells a servo that cannot be heard from a bus that is gone and from a servo that says no.
 *
 * @module
 */

import { BusError } from "../dynamixel/bus.ts";

/**
 * Whether an error means that one servo did not answer, or not understandably.
 *
 * @param error What a call to a servo threw.
 * @returns False for a port that is gone or taken, for a refusal, and for everything else.
 */
export function isSilence(error: unknown): error is BusError {
  return error instanceof BusError && (error.fault === "timeout" || error.fault === "corrupt");
}

/**
 * Wait for a servo that may be silent.
 *
 * @param call An exchange with it.
 * @returns What it gives, or undefined when the servo does not answer.
 * @throws {BusError} The port is gone or taken, or the servo refuses.
 */
export async function unlessSilent<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isSilence(error)) return undefined;
    throw error;
  }
}

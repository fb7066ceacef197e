/**
 * What to tell a person when a servo did not answer, the same for both drivers.
 *
 * @module
 */

import { BusError, type BusFault } from "../bus.ts";

const ADVICE: Readonly<Record<BusFault, readonly [what: string, advice: string]>> = {
  timeout: ["no answer came", "check its power, its cable and its ID"],
  corrupt: [
    "its answer was broken",
    "check the cable, the baud rate, and that no two servos share an ID",
  ],
  busy: ["the port was in use", "let one thread alone use a bus"],
  refused: ["it refused", "read what the error number says"],
  device: ["the port is gone", "plug the adapter in again and reopen the port"],
};

/**
 * A servo gave no valid answer.
 *
 * @param action What was tried, such as "read 4 bytes at 132 of".
 * @param id The servo.
 * @param port The port.
 * @param fault What went wrong.
 * @param attempts How often it was tried.
 * @returns The error, one sentence.
 */
export function exchangeError(
  action: string,
  id: number,
  port: string,
  fault: BusFault,
  attempts: number,
): BusError {
  const [what, advice] = ADVICE[fault];
  const tries = attempts > 1 ? ` (${attempts} attempts)` : "";
  return new BusError(`Cannot ${action} servo ${id} on ${port}: ${what}${tries}; ${advice}`, fault);
}

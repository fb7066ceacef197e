/**
 * What to tell a person whose port cannot be opened or has gone away.
 *
 * @module
 */

import { BusError } from "../bus.ts";
import { ERRNO } from "./libc.ts";

/**
 * Why a port does not open.
 *
 * @param port Device, such as /dev/ttyUSB0.
 * @param errno Error number of open(2) or flock(2).
 * @returns The error, one sentence with what to do; its fault is `busy` or `device`.
 */
export function openError(port: string, errno: number): BusError {
  switch (errno) {
    case ERRNO.ENOENT:
    case ERRNO.ENODEV:
    case ERRNO.ENXIO:
      return new BusError(
        `Cannot open ${port}: there is no such device; plug in the adapter and its power, and look ` +
          'for its name with "ls /dev/tty*"',
        "device",
      );
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return new BusError(
        `Cannot open ${port}: no permission; join its group with "sudo usermod -aG dialout $USER" ` +
          "and log in again",
        "device",
      );
    case ERRNO.EBUSY:
    case ERRNO.EAGAIN:
      return new BusError(
        `Cannot open ${port}: another program has it; end that program (find it with ` +
          `"fuser -v ${port}")`,
        "busy",
      );
    case ERRNO.ENOTTY:
      return new BusError(
        `Cannot open ${port}: it is no serial port; name the adapter's device, such as /dev/ttyUSB0`,
        "device",
      );
    default:
      return new BusError(
        `Cannot open ${port}: the system answers with error ${errno} (errno); unplug the adapter ` +
          "and plug it in again",
        "device",
      );
  }
}

/**
 * A port went away while it was in use.
 *
 * @param port Device.
 * @param action What was tried, such as "read from".
 * @returns The error, with the fault `device`.
 */
export function goneError(port: string, action: string): BusError {
  return new BusError(
    `Cannot ${action} ${port}: the device is gone; plug the adapter in again and reopen the port`,
    "device",
  );
}

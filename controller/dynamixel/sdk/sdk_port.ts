/**
 * The library's port as a carrier of bytes, for what its packet functions cannot do safely.
 *
 * @module
 */

import type { BytePort } from "../builtin/byte_port.ts";
import type { DeviceHold } from "../builtin/serial_port.ts";
import { goneError } from "../builtin/port_sentences.ts";
import type { DxlLibrary } from "./symbols.ts";

/** Longest sleep between two looks at a port, where the system cannot wake its reader, ms. */
const LOOK_EVERY_MS = 0.2;

/** The library's open port. */
export class SdkPort implements BytePort {
  readonly #symbols: DxlLibrary["symbols"];
  readonly #number: number;
  readonly #port: string;
  readonly #hold: DeviceHold | undefined;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));

  /**
   * Carry bytes over a port.
   *
   * @param symbols The library.
   * @param number The port's number in it.
   * @param port Name of the device.
   * @param hold The device itself, which wakes a reader; undefined where there is none.
   */
  constructor(symbols: DxlLibrary["symbols"], number: number, port: string, hold?: DeviceHold) {
    this.#symbols = symbols;
    this.#number = number;
    this.#port = port;
    this.#hold = hold;
  }

  /** Drop what came and was not read. */
  flushInput(): void {
    this.#symbols.clearPort(this.#number);
  }

  /** Write all bytes. @param bytes What to send. @throws {BusError} The device is gone. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#symbols.writePort(this.#number, bytes, bytes.length) !== bytes.length) {
      throw goneError(this.#port, "write to");
    }
  }

  /**
   * Wait for bytes.
   *
   * @param into Where they go.
   * @param timeoutMs Longest wait in ms; 0 looks only.
   * @returns Bytes read; 0 when none came in time.
   * @throws {BusError} The device is gone.
   */
  read(into: Uint8Array<ArrayBuffer>, timeoutMs: number): number {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const leftMs = Math.max(0, deadline - performance.now());
      if (this.#hold !== undefined && !this.#hold.waitForInput(leftMs)) return 0;
      const count = this.#symbols.readPort(this.#number, into, into.length);
      // −1 says here that nothing is there: errors of the device show in the hold and in writes.
      if (count > 0) return count;
      if (this.#hold?.isGone) throw goneError(this.#port, "read from");
      if (leftMs === 0) return 0;
      Atomics.wait(this.#sleeper, 0, 0, Math.min(leftMs, LOOK_EVERY_MS));
    }
  }
}

/**
 * A serial port of Linux, raw and at any speed, through the C library of the system.
 *
 * @module
 */

import { BusError } from "../bus.ts";
import type { BytePort } from "./byte_port.ts";
import { ERRNO, IOCTL, Libc, POLL, SERIAL_STRUCT, TCIFLUSH, TERMIOS2 } from "./libc.ts";
import { goneError, openError } from "./port_sentences.ts";

/** Bits of c_cflag: 8 data bits, receiver on, no modem lines, and a speed that is given as a number. */
const CFLAG = 0x30 | 0x80 | 0x800 | 0x1000;
/** Bit of c_iflag: drop bytes with a framing error. */
const IGNPAR = 0x04;
/** Where the shortest read (VMIN) and the wait between bytes (VTIME) are among the control characters. */
const [VTIME, VMIN] = [5, 6];
/** Longest wait for room in the output buffer, ms. A packet of 1 kB takes 10 ms at 1 Mbit/s. */
const WRITE_TIMEOUT_MS = 200;

/**
 * A device that is held exclusively, without a word about its speed. It guards the port of ROBOTIS'
 * library, which shuts nobody out and does not notice when an adapter is unplugged.
 */
export class DeviceHold implements Disposable {
  /** The device. */
  readonly port: string;
  /** The C library, for those who build on this. */
  protected readonly libc: Libc;
  /** File descriptor of the open device. */
  protected readonly fd: number;
  #isOpen = true;

  /**
   * Open a device and shut others out.
   *
   * @param port Path of the device.
   * @throws {BusError} It does not exist, may not be opened, or another program has it.
   */
  constructor(port: string) {
    this.port = port;
    this.libc = new Libc();
    this.fd = this.libc.open(port);
    if (this.fd < 0) {
      const error = openError(port, this.libc.errno);
      this.libc[Symbol.dispose]();
      throw error;
    }
    // Two locks: flock also holds off root and other programs that ask; TIOCEXCL those that do not.
    if (this.libc.lock(this.fd) < 0 || this.libc.ioctl(this.fd, IOCTL.TIOCEXCL) < 0) {
      const error = openError(port, this.libc.errno);
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the device has been unplugged. */
  get isGone(): boolean {
    return (this.libc.poll(this.fd, 0, 0) & (POLL.hangup | POLL.error | POLL.invalid)) !== 0;
  }

  /**
   * Wait until there is something to read, whoever will read it.
   *
   * @param timeoutMs Longest wait in ms, with fractions; 0 looks only.
   * @returns Whether there is.
   * @throws {BusError} `device` when it is gone.
   */
  waitForInput(timeoutMs: number): boolean {
    const events = this.libc.poll(this.fd, POLL.in, timeoutMs);
    if (events !== 0 && (events & POLL.in) === 0) throw goneError(this.port, "read from");
    return events !== 0;
  }

  /** Let others open the device as well, for the library that must open it a second time. */
  admitOthers(): void {
    this.libc.ioctl(this.fd, IOCTL.TIOCNXCL);
  }

  /** Shut others out again. */
  excludeOthers(): void {
    this.libc.ioctl(this.fd, IOCTL.TIOCEXCL);
  }

  /**
   * Ask the driver to deliver bytes at once. FTDI adapters otherwise collect them for up to 16 ms.
   *
   * @returns Whether the driver has such a switch; a pseudo-terminal has none and needs none.
   */
  requestLowLatency(): boolean {
    const settings = new Uint8Array(SERIAL_STRUCT.bytes);
    if (this.libc.ioctl(this.fd, IOCTL.TIOCGSERIAL, settings) < 0) return false;
    const view = new DataView(settings.buffer);
    const flags = view.getInt32(SERIAL_STRUCT.flags, true);
    view.setInt32(SERIAL_STRUCT.flags, flags | SERIAL_STRUCT.lowLatency, true);
    return this.libc.ioctl(this.fd, IOCTL.TIOCSSERIAL, settings) >= 0;
  }

  /** Close the device. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.libc.ioctl(this.fd, IOCTL.TIOCNXCL);
    this.libc.close(this.fd);
    this.libc[Symbol.dispose]();
  }
}

/** A serial port with 8 data bits, no parity, 1 stop bit and no flow control. */
export class SerialPort extends DeviceHold implements BytePort {
  /**
   * Open a port.
   *
   * @param port Path of the device.
   * @param baudRate Bits a second, such as 1,000,000.
   * @throws {BusError} It cannot be opened, is no serial port, or does not know the speed.
   */
  constructor(port: string, baudRate: number) {
    super(port);
    try {
      this.#setRaw(baudRate);
      this.requestLowLatency();
      this.flushInput();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Drop what came and was not read. */
  flushInput(): void {
    if (this.libc.ioctl(this.fd, IOCTL.TCFLSH, TCIFLUSH) < 0) throw this.#gone("flush");
  }

  /**
   * Write all bytes.
   *
   * @param bytes What to send.
   * @throws {BusError} `device` when it is gone, `busy` when nothing could be written for 200 ms.
   */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    for (let sent = 0; sent < bytes.length;) {
      const count = this.libc.write(this.fd, bytes.subarray(sent));
      if (count >= 0) {
        sent += count;
        continue;
      }
      const { errno } = this.libc;
      if (errno === ERRNO.EINTR) continue;
      if (errno !== ERRNO.EAGAIN) throw this.#gone("write to");
      const events = this.libc.poll(this.fd, POLL.out, WRITE_TIMEOUT_MS);
      if (events === 0) {
        throw new BusError(
          `Cannot write to ${this.port}: its buffer stayed full for ${WRITE_TIMEOUT_MS} ms; check ` +
            "that the adapter has power and no flow control",
          "busy",
        );
      }
      if ((events & POLL.out) === 0) throw this.#gone("write to");
    }
  }

  /**
   * Wait for bytes.
   *
   * @param into Where they go.
   * @param timeoutMs Longest wait in ms, with fractions; 0 looks only.
   * @returns Bytes read; 0 when none came in time.
   * @throws {BusError} `device` when it is gone.
   */
  read(into: Uint8Array<ArrayBuffer>, timeoutMs: number): number {
    if (!this.waitForInput(timeoutMs)) return 0;
    const count = this.libc.read(this.fd, into);
    if (count > 0) return count;
    const { errno } = this.libc;
    if (count < 0 && (errno === ERRNO.EINTR || errno === ERRNO.EAGAIN)) return 0;
    // Something was there to read, and nothing came: a port that has been hung up answers like this.
    if (count < 0 || this.isGone) throw this.#gone("read from");
    return 0;
  }

  #setRaw(baudRate: number): void {
    const settings = new Uint8Array(TERMIOS2.bytes);
    if (this.libc.ioctl(this.fd, IOCTL.TCGETS2, settings) < 0) {
      throw openError(this.port, this.libc.errno);
    }
    const view = new DataView(settings.buffer);
    view.setUint32(TERMIOS2.iflag, IGNPAR, true);
    view.setUint32(TERMIOS2.oflag, 0, true);
    view.setUint32(TERMIOS2.cflag, CFLAG, true);
    view.setUint32(TERMIOS2.lflag, 0, true);
    settings[TERMIOS2.controlChars + VTIME] = 0;
    settings[TERMIOS2.controlChars + VMIN] = 0;
    view.setUint32(TERMIOS2.inputSpeed, baudRate, true);
    view.setUint32(TERMIOS2.outputSpeed, baudRate, true);
    const isSet = this.libc.ioctl(this.fd, IOCTL.TCSETS2, settings) >= 0 &&
      this.libc.ioctl(this.fd, IOCTL.TCGETS2, settings) >= 0;
    const actual = view.getUint32(TERMIOS2.outputSpeed, true);
    // Servos sample each bit in its middle: beyond 2 % the last bit of a byte is read wrongly.
    if (!isSet || Math.abs(actual / baudRate - 1) > 0.02) {
      throw new BusError(
        `Cannot set ${this.port} to ${baudRate} baud: it takes ${actual}; set a speed that both the ` +
          "adapter and the servos know",
        "device",
      );
    }
  }

  #gone(action: string): BusError {
    return goneError(this.port, action);
  }
}

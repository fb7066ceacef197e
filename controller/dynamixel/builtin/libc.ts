/**
 * The few calls of the C library that a serial port needs, on Linux for x86-64 and arm64. All FFI of
 * the embedded driver is in this file.
 *
 * Both architectures share the generic numbers of the kernel for everything used here
 * (asm-generic/fcntl.h, ioctls.h, termbits.h, poll.h), so there is one set of constants. `open` and
 * `ioctl` are variadic in C; on Linux both architectures pass such arguments like any others.
 *
 * @module
 */

const SYMBOLS = {
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  ioctl: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  ioctlNumber: { name: "ioctl", parameters: ["i32", "usize", "usize"], result: "i32" },
  flock: { parameters: ["i32", "i32"], result: "i32" },
  ppoll: { parameters: ["buffer", "usize", "buffer", "pointer"], result: "i32" },
  errnoLocation: { name: "__errno_location", parameters: [], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Numbers of errors, from errno(3). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  ENODEV: 19,
  ENOTTY: 25,
} as const;

/** Flags of open(2): read and write, no controlling terminal, no waiting, closed in children. */
export const OPEN_FLAGS = 0o2 | 0o400 | 0o4000 | 0o2000000;

/** Requests of ioctl(2) on a terminal, from ioctl_tty(2). */
export const IOCTL = {
  TCFLSH: 0x540b,
  TIOCEXCL: 0x540c,
  TIOCNXCL: 0x540d,
  TIOCGSERIAL: 0x541e,
  TIOCSSERIAL: 0x541f,
  TCGETS2: 0x802c542a,
  TCSETS2: 0x402c542b,
} as const;

/** Argument of TCFLSH: drop what came and was not read. */
export const TCIFLUSH = 0;

/** Events of poll(2). */
export const POLL = { in: 0x01, out: 0x04, error: 0x08, hangup: 0x10, invalid: 0x20 } as const;

/** Lock of flock(2): exclusive, and fail rather than wait. */
export const LOCK_EXCLUSIVE_NOW = 2 | 4;

/** Bytes of struct termios2 and where its fields are (asm-generic/termbits.h). */
export const TERMIOS2 = {
  bytes: 44,
  iflag: 0,
  oflag: 4,
  cflag: 8,
  lflag: 12,
  controlChars: 17,
  inputSpeed: 36,
  outputSpeed: 40,
} as const;

/** Bytes of struct serial_struct on 64 bits, where its flags are, and its flag for low latency. */
export const SERIAL_STRUCT = { bytes: 72, flags: 16, lowLatency: 1 << 13 } as const;

/** The open C library. Belongs to one thread, because errno does. */
export class Libc implements Disposable {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #errno: Deno.UnsafePointerView;
  readonly #pollfd = new Uint8Array(8);
  readonly #pollView = new DataView(this.#pollfd.buffer);
  readonly #timespec = new BigInt64Array(2);

  /** Open the C library of the system. @throws {Error} It is no 64-bit Linux, or there is no glibc. */
  constructor() {
    const isKnown = Deno.build.arch === "x86_64" || Deno.build.arch === "aarch64";
    if (Deno.build.os !== "linux" || !isKnown) {
      throw new Error(
        `The embedded Dynamixel driver does not run on ${Deno.build.os} ${Deno.build.arch}, only on ` +
          "Linux for x86-64 and arm64; install ROBOTIS' DynamixelSDK and use --dxl-driver sdk",
      );
    }
    this.#library = Deno.dlopen("libc.so.6", SYMBOLS);
    // The address is looked up once and then read as memory: a call between the failing function and
    // the reading of errno could change it.
    const location = this.#library.symbols.errnoLocation();
    if (location === null) throw new Error("The C library has no errno for this thread");
    this.#errno = new Deno.UnsafePointerView(location);
  }

  /** Error number of the call that has just failed. */
  get errno(): number {
    return this.#errno.getInt32();
  }

  /** open(2) with {@link OPEN_FLAGS}. @param path A device. @returns File descriptor, or −1. */
  open(path: string): number {
    return this.#library.symbols.open(new TextEncoder().encode(`${path}\0`), OPEN_FLAGS, 0);
  }

  /** close(2). @param fd File descriptor. */
  close(fd: number): void {
    this.#library.symbols.close(fd);
  }

  /** read(2). @param fd File descriptor. @param into Buffer. @returns Bytes read, or −1. */
  read(fd: number, into: Uint8Array<ArrayBuffer>): number {
    return Number(this.#library.symbols.read(fd, into, BigInt(into.length)));
  }

  /** write(2). @param fd File descriptor. @param bytes What to write. @returns Bytes taken, or −1. */
  write(fd: number, bytes: Uint8Array<ArrayBuffer>): number {
    return Number(this.#library.symbols.write(fd, bytes, BigInt(bytes.length)));
  }

  /**
   * ioctl(2).
   *
   * @param fd File descriptor.
   * @param request One of {@link IOCTL}.
   * @param argument A struct, or a number.
   * @returns −1 when it failed.
   */
  ioctl(fd: number, request: number, argument: Uint8Array<ArrayBuffer> | number = 0): number {
    const { ioctl, ioctlNumber } = this.#library.symbols;
    return typeof argument === "number"
      ? ioctlNumber(fd, BigInt(request), BigInt(argument))
      : ioctl(fd, BigInt(request), argument);
  }

  /** flock(2) with {@link LOCK_EXCLUSIVE_NOW}. @param fd File descriptor. @returns −1 when it failed. */
  lock(fd: number): number {
    return this.#library.symbols.flock(fd, LOCK_EXCLUSIVE_NOW);
  }

  /**
   * ppoll(2) on one descriptor.
   *
   * @param fd File descriptor.
   * @param events Bits of {@link POLL} to wait for.
   * @param timeoutMs Longest wait in ms, ≥ 0, with fractions.
   * @returns Bits of {@link POLL} that came; 0 after the timeout or a signal; −1 when it failed.
   */
  poll(fd: number, events: number, timeoutMs: number): number {
    this.#pollView.setInt32(0, fd, true);
    this.#pollView.setInt16(4, events, true);
    this.#pollView.setInt16(6, 0, true);
    const ns = Math.max(0, Math.round(timeoutMs * 1e6));
    this.#timespec[0] = BigInt(Math.floor(ns / 1e9));
    this.#timespec[1] = BigInt(ns % 1e9);
    const timespec = new Uint8Array(this.#timespec.buffer);
    const count = this.#library.symbols.ppoll(this.#pollfd, 1n, timespec, null);
    if (count < 0) return this.errno === ERRNO.EINTR ? 0 : -1;
    return count === 0 ? 0 : this.#pollView.getInt16(6, true);
  }

  /** Let go of the library. */
  [Symbol.dispose](): void {
    this.#library.close();
  }
}

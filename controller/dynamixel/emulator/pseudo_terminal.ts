/**
 * A pair of ends that behaves like a serial port: a driver opens the slave by its path, the emulator
 * holds the master. Through the system's C library by FFI, so on Linux alone; all FFI of the emulator
 * is in this file.
 *
 * The slave is held open here too, or the master would be hung up until a driver comes.
 *
 * @module
 */

const SYMBOLS = {
  posix_openpt: { parameters: ["i32"], result: "i32" },
  grantpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname_r: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  tcgetattr: { parameters: ["i32", "buffer"], result: "i32" },
  cfmakeraw: { parameters: ["buffer"], result: "void" },
  tcsetattr: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  ppoll: { parameters: ["buffer", "usize", "buffer", "pointer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

// From asm-generic/fcntl.h: read and write, no controlling terminal, do not wait, not for children.
const OPEN_FLAGS = 0o2 | 0o400 | 0o4000 | 0o2000000;
/** More than struct termios has on any Linux (60 bytes on x86-64). */
const TERMIOS_BYTES = 256;
/** Apply the settings now; from termios.h. */
const TCSANOW = 0;
/** There is something to read; from poll.h. */
const POLLIN = 1;
const POLLFD_BYTES = 8;
const PATH_BYTES = 128;
const READ_BYTES = 4096;

type SystemLibrary = Deno.DynamicLibrary<typeof SYMBOLS>;

/** One pair of ends. */
export class PseudoTerminal implements Disposable {
  /** What a driver opens, such as /dev/pts/3. */
  readonly path: string;
  readonly #library: SystemLibrary;
  readonly #master: number;
  readonly #slave: number;
  readonly #buffer = new Uint8Array(READ_BYTES);
  #isOpen = true;

  /**
   * Open a pair, both ends raw: no echo, no translation of bytes.
   *
   * @throws {Error} This is no Linux, or the system gives no more pseudo-terminals.
   */
  constructor() {
    if (Deno.build.os !== "linux") {
      throw new Error(
        `Cannot emulate a Dynamixel bus on ${Deno.build.os}: its pseudo-terminal needs Linux; use ` +
          "the simulation, or real arms",
      );
    }
    this.#library = Deno.dlopen("libc.so.6", SYMBOLS);
    const { symbols } = this.#library;
    let [master, slave] = [-1, -1];
    try {
      master = check("open a pseudo-terminal", symbols.posix_openpt(OPEN_FLAGS));
      check("grant a pseudo-terminal", symbols.grantpt(master));
      check("unlock a pseudo-terminal", symbols.unlockpt(master));
      const name = new Uint8Array(PATH_BYTES);
      // Unlike the others, ptsname_r answers with the error number itself.
      check("name a pseudo-terminal", -symbols.ptsname_r(master, name, BigInt(name.length)));
      this.path = new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
      slave = check(`open ${this.path}`, symbols.open(name, OPEN_FLAGS));
      const termios = new Uint8Array(TERMIOS_BYTES);
      check(`read the settings of ${this.path}`, symbols.tcgetattr(slave, termios));
      symbols.cfmakeraw(termios);
      check(`set up ${this.path}`, symbols.tcsetattr(slave, TCSANOW, termios));
    } catch (error) {
      for (const fd of [master, slave]) if (fd >= 0) symbols.close(fd);
      this.#library.close();
      throw error;
    }
    this.#master = master;
    this.#slave = slave;
  }

  /**
   * Wait until a driver has written to one of several terminals. Blocks the thread.
   *
   * @param terminals Open terminals, at least one.
   * @param timeoutMs Longest wait in ms, ≥ 0, with fractions.
   */
  static waitForAny(terminals: readonly PseudoTerminal[], timeoutMs: number): void {
    const pollfds = new DataView(new ArrayBuffer(POLLFD_BYTES * terminals.length));
    terminals.forEach((terminal, i) => {
      pollfds.setInt32(POLLFD_BYTES * i, terminal.#master, true);
      pollfds.setInt16(POLLFD_BYTES * i + 4, POLLIN, true);
    });
    const ns = Math.max(0, Math.round(timeoutMs * 1e6));
    const timespec = BigInt64Array.of(BigInt(Math.floor(ns / 1e9)), BigInt(ns % 1e9));
    const { ppoll } = terminals[0].#library.symbols;
    // A signal ends the wait early, which does no harm: whoever waits looks for bytes anyway.
    ppoll(
      new Uint8Array(pollfds.buffer),
      BigInt(terminals.length),
      new Uint8Array(timespec.buffer),
      null,
    );
  }

  /**
   * What a driver has written, without waiting.
   *
   * @returns The bytes, none when there are none; valid until the next call.
   */
  read(): Uint8Array {
    const { read } = this.#library.symbols;
    const count = Number(read(this.#master, this.#buffer, BigInt(this.#buffer.length)));
    return this.#buffer.subarray(0, Math.max(0, count));
  }

  /**
   * Send bytes to the driver. What does not fit because nobody reads is lost, as on a line.
   *
   * @param bytes The bytes.
   * @returns How many were taken.
   */
  write(bytes: Uint8Array<ArrayBuffer>): number {
    const { write } = this.#library.symbols;
    return Math.max(0, Number(write(this.#master, bytes, BigInt(bytes.length))));
  }

  /** Close both ends; a driver that has the slave open sees it hang up. */
  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#library.symbols.close(this.#master);
    this.#library.symbols.close(this.#slave);
    this.#library.close();
  }
}

function check(what: string, result: number): number {
  if (result >= 0) return result;
  throw new Error(`Cannot ${what}: the system refused; see that /dev/pts is mounted and not full`);
}

/**
 * The operator's keyboard: single keys from a terminal, without Enter after each.
 *
 * Any stream of bytes will do, so tests need no terminal. `openKeys` puts a real one into raw mode and
 * gives it back as it was. Should the program end without closing the keys, Deno restores the terminal
 * itself, unless it is killed: then `stty sane` does.
 *
 * @module
 */

import type { Logger } from "../../../common/types.ts";
import type { Operator } from "./operator.ts";

/** What each key does, in words. */
export const KEY_LIST: string =
  "Keys: space, e or Esc: emergency stop; r: release it; Enter: start the episode; " +
  "s: it succeeded; f: it failed; h or ?: this list; Ctrl-C: end the program";

const SOURCE = "key press";
const INTERRUPT = 3;
const ESCAPE = 27;

/** What the keys need. */
export interface KeyOptions {
  /** Whom the keys speak for. */
  readonly operator: Operator;
  /** Called at Ctrl-C where the terminal makes no SIGINT of it; end the program as SIGINT would. */
  readonly onInterrupt: () => void;
  /** Takes the list of keys, and words about keys that nothing came of. */
  readonly logger: Logger;
}

/** Keys that are being read. Dispose of them to stop reading. */
export class OperatorKeys implements AsyncDisposable {
  readonly #options: KeyOptions;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #restore: () => void;
  readonly #reading: Promise<void>;
  #isClosing = false;

  /**
   * Begin to read. When the input ends or fails before the keys are disposed of, that is an emergency
   * stop: whoever relied on the keyboard has lost it.
   *
   * @param input Bytes as a terminal in raw mode sends them; the keys take it over.
   * @param options What they need.
   * @param restore Called first when the keys are disposed of; default nothing.
   */
  constructor(
    input: ReadableStream<Uint8Array>,
    options: KeyOptions,
    restore: () => void = () => {},
  ) {
    this.#options = options;
    this.#restore = restore;
    this.#reader = input.getReader();
    this.#reading = this.#read();
  }

  /** Restore the terminal and stop reading. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    // First: the terminal has to be usable even if the reading does not end.
    this.#restore();
    // An input that has failed already has said so through the operator.
    await this.#reader.cancel().catch(() => {});
    await this.#reading;
  }

  async #read(): Promise<void> {
    let how = "has ended";
    try {
      for (let next = await this.#reader.read(); !next.done; next = await this.#reader.read()) {
        this.#take(next.value);
      }
    } catch (error) {
      how = `cannot be read: ${error}`;
    }
    if (this.#isClosing) return;
    this.#options.operator.stop(`the keyboard ${how}`, "keyboard");
  }

  #take(bytes: Uint8Array): void {
    for (const byte of bytes) {
      this.#press(byte);
      // Keys without a letter send Esc and more: what follows is not typed. Each of them stops, too,
      // since nobody who hits the keyboard in alarm aims.
      if (byte === ESCAPE) return;
    }
  }

  #press(byte: number): void {
    const { operator, onInterrupt, logger } = this.#options;
    if (byte === INTERRUPT) return onInterrupt();
    // Caps lock must not keep anybody from stopping.
    const key = String.fromCharCode(byte).toLowerCase();
    switch (key) {
      case " ":
      case "e":
      case "\x1b":
        return operator.stop(`key ${nameOf(key)}`, SOURCE);
      case "r":
        return operator.release(SOURCE);
      case "\r":
      case "\n":
        if (!operator.start(SOURCE)) logger.info("Enter starts nothing: no episode waits for it");
        return;
      case "s":
        if (!operator.success(SOURCE)) logger.info("s judges nothing: no episode is running");
        return;
      case "f":
        if (!operator.failure(SOURCE)) logger.info("f judges nothing: no episode is running");
        return;
      case "h":
      case "?":
        return logger.info(KEY_LIST);
    }
  }
}

/** A terminal that keys can be read from; `Deno.stdin` is one. */
export interface KeyTerminal {
  /** The bytes typed. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Whether it is a terminal at all. */
  isTerminal(): boolean;
  /** Turn raw mode on or off; see `Deno.stdin.setRaw`. */
  setRaw(mode: boolean, options?: Deno.SetRawOptions): void;
}

/**
 * Read keys from a terminal in raw mode: no echo, each key at once. Ctrl-C, Ctrl-\ and Ctrl-Z keep
 * their meaning where the system can do so; on Windows Ctrl-C comes as a byte and `onInterrupt` is called.
 *
 * @param terminal The terminal; normally `Deno.stdin`, which nobody else may read.
 * @param options What the keys need.
 * @returns The keys, or null when it is no terminal: then there are none, and nothing was touched. The
 * terminal is restored when they are disposed of.
 */
export function openKeys(terminal: KeyTerminal, options: KeyOptions): OperatorKeys | null {
  if (!terminal.isTerminal()) return null;
  terminal.setRaw(true, { cbreak: Deno.build.os !== "windows" });
  options.logger.info(KEY_LIST);
  return new OperatorKeys(terminal.readable, options, () => terminal.setRaw(false));
}

function nameOf(key: string): string {
  return key === " " ? "space" : key === "\x1b" ? "Esc" : key;
}

/**
 * The driver over ROBOTIS' C library, which carries every instruction and every answer of a single
 * servo. Answers of a group are read from the library's port with the project's own parser: the library
 * assigns them by their order alone and drops the error bytes.
 *
 * @module
 */

import {
  BusError,
  type BusFault,
  type DynamixelBus,
  type PingReply,
  type ReadLimits,
  type ServoReading,
  type ServoReply,
} from "../bus.ts";
import { stuff } from "../protocol/packet.ts";
import { checkId, checkIds, checkItem, checkRows } from "../builtin/arguments.ts";
import { exchangeError } from "../builtin/exchange_fault.ts";
import { type Attempts, collectReadings, REFUSED } from "../builtin/group_reading.ts";
import { LateAnswers } from "../builtin/late_answers.ts";
import { answerTimeoutMs, type LineTiming } from "../builtin/line_timing.ts";
import { goneError } from "../builtin/port_sentences.ts";
import { DeviceHold } from "../builtin/serial_port.ts";
import { pingEverybody, StatusLine } from "../builtin/status_line.ts";
import { loadDxlLibrary, type LoadedLibrary } from "./load_library.ts";
import { SdkPort } from "./sdk_port.ts";
import { COMM, PROTOCOL } from "./symbols.ts";
import { piecesOf, pieceValue, setPiece, SyncGroups } from "./sync_groups.ts";

/** How the library's driver talks. */
export interface SdkBusOptions {
  /** Device, such as /dev/ttyDXL_puppet_left. */
  readonly port: string;
  /** Bits a second; ALOHA's servos have 1,000,000. */
  readonly baudRate: number;
  /** Path of the library. */
  readonly library: string;
  /** Times a lost or broken answer is asked for again, 0–10. Default 1. Reboots are never repeated. */
  readonly retries?: number;
  /**
   * No attempt begins that could end later than this after the first began, ms. Default: no bound. The
   * library itself waits 34 ms for the answer of a single servo.
   */
  readonly budgetMs?: number;
  /** Allowance for the adapter and the system in a group read, ms. Default 6. */
  readonly latencyMs?: number;
  /** The largest Return_Delay_Time among the servos, ms. Default 0.5, as they leave the factory. */
  readonly returnDelayMs?: number;
}

/** Firmware_Version of the X series, 1 byte; the library's ping leaves it out. */
const FIRMWARE_ADDRESS = 6;
/** How long the library waits for one servo: twice 16 ms of latency, and 2 ms (port_handler_linux.c). */
const SINGLE_TIMEOUT_MS = 34;
/** Bytes of a sync read beside its IDs. */
const SYNC_READ_BYTES = 14;
/** The library copies a port's name into this many bytes without looking. */
const PORT_NAME_BYTES = 100;

/** A bus that ROBOTIS' library drives. */
export class SdkBus implements DynamixelBus {
  /** Which driver this is. */
  readonly driver = "sdk";
  /** The device. */
  readonly port: string;
  readonly #attempts: Attempts;
  readonly #timing: LineTiming;
  readonly #resources: DisposableStack;
  readonly #symbols: LoadedLibrary["symbols"];
  readonly #number: number;
  readonly #hold: DeviceHold | undefined;
  readonly #groups: SyncGroups;
  readonly #line: StatusLine;
  readonly #late: LateAnswers;
  #retryCount = 0;

  /**
   * Open a bus.
   *
   * @param options The port, the library and how to talk.
   * @throws {BusError} The port cannot be opened.
   * @throws {Error} The library cannot be loaded.
   */
  constructor(options: SdkBusOptions) {
    const { port, baudRate, library, latencyMs = 6, returnDelayMs = 0.5 } = options;
    const { retries = 1, budgetMs = Infinity } = options;
    this.port = port;
    this.#attempts = { retries, budgetMs };
    this.#timing = { baudRate, latencyMs, returnDelayMs };
    using opening = new DisposableStack();
    // The library opens a port that another program has, and prints when it cannot open one.
    if (Deno.build.os === "linux") this.#hold = opening.use(new DeviceHold(port));
    this.#hold?.admitOthers();
    this.#hold?.requestLowLatency();
    this.#symbols = opening.use(loadDxlLibrary(library)).symbols;
    const name = new TextEncoder().encode(`${port}\0`);
    if (name.length > PORT_NAME_BYTES) {
      throw new RangeError(
        `Cannot open ${port}: its name has ${name.length - 1} bytes, the library takes ` +
          `${PORT_NAME_BYTES - 1}; make a shorter link to it`,
      );
    }
    this.#number = this.#symbols.portHandler(name);
    this.#symbols.packetHandler();
    opening.defer(() => this.#symbols.closePort(this.#number));
    // Setting the speed opens the port; opening it first would open it twice.
    if (this.#symbols.setBaudRate(this.#number, baudRate) === 0) {
      throw new BusError(
        `Cannot open ${port} at ${baudRate} baud with ROBOTIS' library; look for the device with ` +
          '"ls /dev/tty*" and for its permissions with "ls -l"',
        "device",
      );
    }
    this.#hold?.excludeOthers();
    this.#groups = opening.use(new SyncGroups(this.#symbols, this.#number));
    this.#line = new StatusLine(new SdkPort(this.#symbols, this.#number, port, this.#hold));
    this.#late = new LateAnswers(this.#line, this.#timing);
    this.#resources = opening.move();
  }

  /** Answers that were asked for again since the bus was opened. */
  get retryCount(): number {
    return this.#retryCount;
  }

  /** Ask one servo who it is. @param id The servo. @throws {BusError} No valid answer came. */
  ping(id: number): PingReply {
    let model = 0;
    const { error } = this.#ask("ping", id, () => {
      model = this.#symbols.pingGetModelNum(this.#number, PROTOCOL, id);
    }, { hasEffect: false });
    const [firmware] = this.read(id, FIRMWARE_ADDRESS, 1).data;
    return { error, model, firmware: firmware ?? 0 };
  }

  /** Ask everybody who they are; takes 0.2 s, because nobody knows who is last. */
  broadcastPing(): readonly (PingReply & { readonly id: number })[] {
    return pingEverybody(this.#line, this.#timing);
  }

  /**
   * Read one servo. The library reads at most 4 bytes at once, so a longer stretch is not of one moment.
   *
   * @param id The servo.
   * @param address First address.
   * @param length Bytes.
   * @returns The bytes, and the servo's error byte; no bytes when the servo refused.
   * @throws {BusError} No valid answer came.
   */
  read(id: number, address: number, length: number): ServoReply & { readonly data: Uint8Array } {
    checkItem(address, length);
    const { read1ByteTxRx, read2ByteTxRx, read4ByteTxRx } = this.#symbols;
    const readPiece = { 1: read1ByteTxRx, 2: read2ByteTxRx, 4: read4ByteTxRx };
    const data = new Uint8Array(length);
    let errors = 0;
    for (const piece of piecesOf(length)) {
      const at = address + piece.offset;
      const { error } = this.#ask(`read ${piece.size} bytes at ${at} of`, id, () => {
        setPiece(data, piece, readPiece[piece.size](this.#number, PROTOCOL, id, at));
      }, { hasEffect: false });
      if ((error & REFUSED) !== 0) return { error, data: new Uint8Array() };
      errors |= error;
    }
    return { error: errors, data };
  }

  /**
   * Write one servo.
   *
   * @param id The servo.
   * @param address First address.
   * @param data Bytes.
   * @returns The servo's error byte.
   * @throws {BusError} No valid answer came.
   * @throws {BusError} `refused`: the bytes hold FF FF FD, which the library cannot send.
   */
  write(id: number, address: number, data: Uint8Array): ServoReply {
    checkItem(address, data.length);
    this.#refuseStuffing([...littleEndian(address), ...data]);
    const { setDataWrite, writeTxRx } = this.#symbols;
    return this.#ask(`write ${data.length} bytes at ${address} of`, id, () => {
      for (const piece of piecesOf(data.length)) {
        const value = pieceValue(data, piece);
        setDataWrite(this.#number, PROTOCOL, piece.size, piece.offset, value);
      }
      writeTxRx(this.#number, PROTOCOL, id, address, data.length);
    });
  }

  /**
   * Write the same item of several servos at once.
   *
   * @param address First address.
   * @param length Bytes a servo.
   * @param rows Bytes by ID; none does nothing.
   * @throws {BusError} The port is gone.
   * @throws {BusError} `refused`: the bytes hold FF FF FD, which the library cannot send.
   */
  syncWrite(address: number, length: number, rows: ReadonlyMap<number, Uint8Array>): void {
    checkRows(address, length, rows);
    const data = [...rows].flatMap(([id, bytes]) => [id, ...bytes]);
    this.#refuseStuffing([...littleEndian(address), ...littleEndian(length), ...data]);
    if (rows.size > 0) this.#checkSent(this.#groups.write(address, length, rows), "sync write");
  }

  /**
   * Read the same item of several servos.
   *
   * @param address First address.
   * @param length Bytes a servo.
   * @param ids Servos.
   * @param limits Bounds of this read.
   * @returns One reading for each of `ids`, in their order.
   * @throws {BusError} The port is gone.
   */
  syncRead(
    address: number,
    length: number,
    ids: readonly number[],
    limits: ReadLimits = {},
  ): readonly ServoReading[] {
    checkItem(address, length);
    checkIds(ids);
    const timing = { ...this.#timing, ...limits };
    return collectReadings(ids, { ...this.#attempts, ...limits }, (asked, found, attempt) => {
      const sentBytes = SYNC_READ_BYTES + asked.length;
      const timeoutMs = answerTimeoutMs(timing, sentBytes, asked.length, length);
      return {
        timeoutMs,
        run: () => {
          if (attempt > 1) this.#retryCount += asked.length;
          this.#line.clear();
          const { result, end } = this.#groups.beginRead(address, length, asked);
          this.#checkSent(result, "sync read");
          try {
            return this.#line.listenToEach(asked, length, timeoutMs, found);
          } finally {
            for (const id of asked) if (!found.has(id)) this.#late.expect(id);
            end();
          }
        },
      };
    });
  }

  /**
   * Restart a servo. It is asked once: a second request would meet it while it starts.
   *
   * @param id The servo.
   * @returns Its error byte.
   * @throws {BusError} No valid answer came.
   */
  reboot(id: number): ServoReply {
    const { reboot } = this.#symbols;
    return this.#ask("reboot", id, () => reboot(this.#number, PROTOCOL, id), {
      retries: 0,
    });
  }

  /** Close the port and free the library's memory for it. */
  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }

  /**
   * The library reserves no room for stuffed bytes in what it sends (`protocol2_packet_handler.c`): a
   * packet that needs them would be written past its end, and the process would end some time later.
   */
  #refuseStuffing(parameters: readonly number[]): void {
    const body = Uint8Array.from(parameters);
    if (stuff(body).length === body.length) return;
    throw new BusError(
      `Cannot write to ${this.port} through ROBOTIS' library: the bytes hold FF FF FD, for which it ` +
        "reserves no room; use --dxl-driver builtin",
      "refused",
    );
  }

  /** Let the library ask one servo until it answers or the attempts run out. */
  #ask(
    action: string,
    id: number,
    exchange: () => void,
    { retries = this.#attempts.retries, hasEffect = true } = {},
  ): ServoReply {
    checkId(id);
    const giveUpAt = performance.now() + this.#attempts.budgetMs;
    for (let attempt = 1;; attempt++) {
      const end = this.#late.letPass(id);
      let fault: BusFault = end === "corrupt" ? "corrupt" : "timeout";
      if (end === "complete") {
        exchange();
        const result = this.#symbols.getLastTxRxResult(this.#number, PROTOCOL);
        if (result === COMM.success) {
          return { error: this.#symbols.getLastRxPacketError(this.#number, PROTOCOL) };
        }
        fault = this.#faultOf(result);
        this.#late.expect(id);
      } else if (hasEffect) {
        // One that cannot be heard may still hear: torque is not left on for want of an answer.
        exchange();
      }
      const nextMs = this.#late.timeoutMs(id) + SINGLE_TIMEOUT_MS;
      const isLate = performance.now() + nextMs > giveUpAt;
      if (attempt > retries || isLate || fault === "device" || fault === "busy") {
        throw exchangeError(action, id, this.port, fault, attempt);
      }
      this.#retryCount++;
    }
  }

  #checkSent(result: number, action: string): void {
    switch (result) {
      case COMM.success:
        return;
      case COMM.txError:
        throw new RangeError(
          `Cannot ${action} on ${this.port}: the packet is longer than the library's 1,024 bytes; ` +
            "send fewer servos at once",
        );
      case COMM.portBusy:
        throw new BusError(
          `Cannot ${action} on ${this.port}: the port is in use; let one thread alone use a bus`,
          "busy",
        );
      default:
        throw goneError(this.port, action);
    }
  }

  #faultOf(result: number): BusFault {
    // Where the device has gone while an answer was awaited, the library only sees time pass.
    if (result === COMM.txFail || this.#hold?.isGone) return "device";
    if (result === COMM.portBusy) return "busy";
    return result === COMM.rxCorrupt ? "corrupt" : "timeout";
  }
}

/** Two bytes of a number. */
function littleEndian(value: number): readonly [number, number] {
  return [value & 0xff, value >> 8];
}

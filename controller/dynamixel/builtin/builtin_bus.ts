/**
 * The embedded driver: Protocol 2.0 over a serial port of Linux, without ROBOTIS' library. It shows
 * each servo's status error byte also in group reads, and knows Fast Sync Read.
 *
 * @module
 */

import type { DynamixelBus, PingReply, ReadLimits, ServoReading, ServoReply } from "../bus.ts";
import { type DynamixelRequest, encodeRequest } from "../protocol/instructions.ts";
import { decodeFastStatus } from "../protocol/fast_status.ts";
import { MAX_LENGTH } from "../protocol/packet.ts";
import type { StatusPacket } from "../protocol/parser.ts";
import { checkId, checkIds, checkItem, checkRows } from "./arguments.ts";
import { exchangeError } from "./exchange_fault.ts";
import { collectReadings, isAnswer, readingOf } from "./group_reading.ts";
import { LateAnswers } from "./late_answers.ts";
import { answerTimeoutMs, type LineTiming } from "./line_timing.ts";
import { SerialPort } from "./serial_port.ts";
import { type ListenEnd, PING_BYTES, pingEverybody, pingReply, StatusLine } from "./status_line.ts";

/** How the embedded driver talks. */
export interface BuiltinBusOptions {
  /** Device, such as /dev/ttyDXL_puppet_left. */
  readonly port: string;
  /** Bits a second; ALOHA's servos have 1,000,000. */
  readonly baudRate: number;
  /** Times a lost or broken answer is asked for again, 0–10. Default 1. Reboots are never repeated. */
  readonly retries?: number;
  /** No attempt begins that could end later than this after the first began, ms. Default: no bound. */
  readonly budgetMs?: number;
  /** Allowance for the adapter and the system in each exchange, ms. Default 6. */
  readonly latencyMs?: number;
  /** The largest Return_Delay_Time among the servos, ms. Default 0.5, as they leave the factory. */
  readonly returnDelayMs?: number;
  /** Sync reads ask with Fast Sync Read first: every servo must know it. Default false. */
  readonly hasFastSyncRead?: boolean;
}

/** Defaults of {@link BuiltinBusOptions}. USB at full speed adds 1–2 ms each way; the rest is slack. */
const DEFAULTS = {
  retries: 1,
  budgetMs: Infinity,
  latencyMs: 6,
  returnDelayMs: 0.5,
  hasFastSyncRead: false,
} as const;

/** Bytes that each servo adds to its data in a joint answer. */
const FAST_BLOCK_BYTES = 4;

/** A bus that the embedded driver drives. */
export class BuiltinBus implements DynamixelBus {
  /** Which driver this is. */
  readonly driver = "builtin";
  /** The device. */
  readonly port: string;
  readonly #serial: SerialPort;
  readonly #line: StatusLine;
  readonly #late: LateAnswers;
  readonly #timing: LineTiming;
  readonly #options: Required<BuiltinBusOptions>;
  #retryCount = 0;

  /**
   * Open a bus.
   *
   * @param options The port and how to talk.
   * @throws {BusError} The port cannot be opened.
   * @throws {RangeError} An option is out of range.
   */
  constructor(options: BuiltinBusOptions) {
    this.#options = checkOptions({ ...DEFAULTS, ...options });
    this.port = options.port;
    this.#timing = this.#options;
    this.#serial = new SerialPort(options.port, options.baudRate);
    this.#line = new StatusLine(this.#serial);
    this.#late = new LateAnswers(this.#line, this.#timing);
  }

  /** Answers that were asked for again since the bus was opened. */
  get retryCount(): number {
    return this.#retryCount;
  }

  /** Ask one servo who it is. @param id The servo. @throws {BusError} No valid answer came. */
  ping(id: number): PingReply {
    const status = this.#ask("ping", { kind: "ping", id }, PING_BYTES);
    return pingReply(status) ?? { error: status.error, model: 0, firmware: 0 };
  }

  /** Ask everybody who they are; takes 0.2 s, because nobody knows who is last. */
  broadcastPing(): readonly (PingReply & { readonly id: number })[] {
    return pingEverybody(this.#line, this.#timing);
  }

  /**
   * Read one servo.
   *
   * @param id The servo.
   * @param address First address.
   * @param length Bytes.
   * @returns The bytes, and the servo's error byte; no bytes when the servo refused.
   * @throws {BusError} No valid answer came.
   */
  read(id: number, address: number, length: number): ServoReply & { readonly data: Uint8Array } {
    checkItem(address, length);
    const action = `read ${length} bytes at ${address} of`;
    const { error, params } = this.#ask(action, { kind: "read", id, address, length }, length);
    return { error, data: params };
  }

  /**
   * Write one servo.
   *
   * @param id The servo.
   * @param address First address.
   * @param data Bytes.
   * @returns The servo's error byte.
   * @throws {BusError} No valid answer came.
   */
  write(id: number, address: number, data: Uint8Array): ServoReply {
    checkItem(address, data.length);
    const action = `write ${data.length} bytes at ${address} of`;
    return { error: this.#ask(action, { kind: "write", id, address, data }, 0).error };
  }

  /**
   * Write the same item of several servos at once.
   *
   * @param address First address.
   * @param length Bytes a servo.
   * @param rows Bytes by ID; none does nothing.
   * @throws {BusError} The port is gone.
   */
  syncWrite(address: number, length: number, rows: ReadonlyMap<number, Uint8Array>): void {
    checkRows(address, length, rows);
    if (rows.size > 0) this.#line.send(encodeRequest({ kind: "syncWrite", address, length, rows }));
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
    const isFastFirst = this.#options.hasFastSyncRead;
    return this.#readGroup({ address, length, isFastFirst, ...limits }, ids);
  }

  /**
   * Read the same item of several servos, which answer with one packet together. Servos that are
   * missing in it are asked again with an ordinary sync read.
   *
   * @param address First address.
   * @param length Bytes a servo.
   * @param ids Servos; all must know the instruction.
   * @returns One reading for each of `ids`, in their order.
   * @throws {BusError} The port is gone.
   */
  fastSyncRead(address: number, length: number, ids: readonly number[]): readonly ServoReading[] {
    return this.#readGroup({ address, length, isFastFirst: true }, ids);
  }

  /**
   * Restart a servo. It is asked once: a second request would meet it while it starts.
   *
   * @param id The servo.
   * @returns Its error byte.
   * @throws {BusError} No valid answer came.
   */
  reboot(id: number): ServoReply {
    return { error: this.#ask("reboot", { kind: "reboot", id }, 0, 0).error };
  }

  /** Close the port. */
  [Symbol.dispose](): void {
    this.#serial[Symbol.dispose]();
  }

  /** Ask one servo until it answers, or attempts or time run out. */
  #ask(
    action: string,
    request: DynamixelRequest & { readonly id: number },
    paramBytes: number,
    retries = this.#options.retries,
  ): StatusPacket {
    const { id } = request;
    checkId(id);
    const packet = encodeRequest(request);
    const timeoutMs = answerTimeoutMs(this.#timing, packet.length, 1, paramBytes);
    const giveUpAt = performance.now() + this.#options.budgetMs;
    for (let attempt = 1;; attempt++) {
      let answer: StatusPacket | undefined;
      let end = this.#late.letPass(id);
      if (end === "complete") {
        this.#line.send(packet);
        end = this.#line.listen(1, timeoutMs, (status) => {
          if (status.id === id && isAnswer(status, paramBytes)) answer = status;
          return answer === undefined ? 1 : 0;
        });
        if (answer !== undefined) return answer;
        this.#late.expect(id);
      } else if (request.kind !== "read" && request.kind !== "ping") {
        // One that cannot be heard may still hear: torque is not left on for want of an answer.
        this.#line.send(packet);
      }
      const nextMs = this.#late.timeoutMs(id) + timeoutMs;
      if (attempt > retries || performance.now() + nextMs > giveUpAt) {
        throw exchangeError(action, id, this.port, faultOf(end), attempt);
      }
      this.#retryCount++;
    }
  }

  #readGroup(
    { address, length, isFastFirst, ...limits }: ReadLimits & {
      readonly address: number;
      readonly length: number;
      readonly isFastFirst: boolean;
    },
    ids: readonly number[],
  ): ServoReading[] {
    checkItem(address, length);
    checkIds(ids);
    const options = { ...this.#options, ...limits };
    return collectReadings(ids, options, (asked, found, attempt) => {
      const jointBytes = 1 + asked.length * (length + FAST_BLOCK_BYTES);
      const isFast = isFastFirst && attempt === 1 && asked.length > 1 && jointBytes <= MAX_LENGTH;
      const kind = isFast ? "fastSyncRead" : "syncRead";
      const packet = encodeRequest({ kind, address, length, ids: asked });
      const timeoutMs = answerTimeoutMs(options, packet.length, asked.length, length);
      const run = () => {
        if (attempt > 1) this.#retryCount += asked.length;
        this.#line.send(packet);
        const end = isFast
          ? this.#listenToAll(asked, length, timeoutMs, found)
          : this.#line.listenToEach(asked, length, timeoutMs, found);
        for (const id of asked) if (!found.has(id)) this.#late.expect(id);
        return end;
      };
      return { timeoutMs, run };
    });
  }

  #listenToAll(
    ids: readonly number[],
    length: number,
    timeoutMs: number,
    found: Map<number, ServoReading>,
  ): ListenEnd {
    const expected = ids.map((id) => ({ id, length }));
    return this.#line.listen(1, timeoutMs, (status) => {
      const blocks = decodeFastStatus(status, expected);
      if (blocks === undefined) return 1;
      for (const { id, error, data } of blocks) {
        found.set(id, readingOf(id, error, data, length));
      }
      return 0;
    });
  }
}

function faultOf(end: ListenEnd): "timeout" | "corrupt" {
  return end === "corrupt" ? "corrupt" : "timeout";
}

function checkOptions(options: Required<BuiltinBusOptions>): Required<BuiltinBusOptions> {
  const { baudRate, retries, budgetMs, latencyMs, returnDelayMs } = options;
  const check = (name: string, value: number, least: number, most: number) => {
    if (!(value >= least && value <= most)) {
      throw new RangeError(
        `Cannot open ${options.port}: ${name} is ${value}, expected ${least}–${most}`,
      );
    }
  };
  check("baudRate", baudRate, 9_600, 4_500_000);
  check("retries", retries, 0, 10);
  check("budgetMs", budgetMs, 1, Infinity);
  check("latencyMs", latencyMs, 0.1, 1_000);
  check("returnDelayMs", returnDelayMs, 0, 0.508);
  return options;
}

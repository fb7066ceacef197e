/**
 * The controller's end of a bus's thread.
 *
 * @module
 */

import type { Logger } from "../../../common/types.ts";
import type { StopLatchMemory } from "../../safety/stop_latch.ts";
import { BusError, type PingReply } from "../bus.ts";
import type { ControlItemName } from "../control_table.ts";
import type { OpenBusOptions } from "../open_bus.ts";
import { type BusMemory, createBusMemory } from "./bus_memory.ts";
import {
  type BusCounters,
  type BusHealth,
  type BusState,
  readBusCounters,
  readBusHealth,
  readBusState,
} from "./bus_readings.ts";
import type {
  BusEvent,
  BusMode,
  BusRateHz,
  BusReply,
  BusRequest,
  CallValue,
  Failure,
  ServoCall,
} from "./messages.ts";
import type { ServoAccess } from "./servo_access.ts";

/** Longest wait for the thread to start, in ms. */
const OPEN_DEADLINE_MS = 10_000;
/** Longest wait for it to close the port: a call to a missing servo may be on its way. */
const CLOSE_DEADLINE_MS = 2_000;
/** Longest wait for the answer to a call: a thread that does not give it hangs. */
const CALL_DEADLINE_MS = 10_000;

/** What {@link BusThread.open} is told. */
export interface BusThreadOptions {
  /** Name of the bus for people, such as "left arm". */
  readonly name: string;
  /** Device and driver. `returnDelayMs` is 0 unless told, as ALOHA's servos are set. */
  readonly openBus: OpenBusOptions;
  /** Cycles a second. */
  readonly rateHz: BusRateHz;
  /** A deadline of the cycles, in ms of `sharedNowMs`; the same for buses that run in step. */
  readonly epochMs: number;
  /** The emergency stop. */
  readonly latch: StopLatchMemory;
  /** Told in words what {@link onEvent} is told. */
  readonly logger: Logger;
  /** Called with every event. */
  readonly onEvent?: (event: BusEvent) => void;
  /** Makes the thread; for tests of threads that fail. */
  readonly startWorker?: () => Worker;
}

/** What the thread says when its port is open. */
type Opened = BusReply & { readonly kind: "opened" };

/**
 * A bus that runs in a thread of its own, idle at first. Owner of the thread and its port.
 *
 * An idle bus is touched by calls only, so that it is they who find out that its port is gone.
 */
export class BusThread implements ServoAccess, AsyncDisposable {
  /** Name of the bus for people. */
  readonly name: string;
  /** The device. */
  readonly port: string;
  /** What the thread shares; setpoints are written to it by the motion thread. */
  readonly memory: BusMemory;
  /** Why the driver is the one it is. */
  readonly driverReason: string;
  /** Whether the thread comes before all usual ones, or what to do to have that. */
  readonly realtime: string;
  readonly #options: BusThreadOptions;
  readonly #worker: Worker;
  readonly #calls = new Map<number, PromiseWithResolvers<CallValue>>();
  readonly #stopped = Promise.withResolvers<void>();
  #lastCall = 0;
  #mode: BusMode = "idle";
  #failure: Failure | undefined;
  #expected: readonly number[] = [];
  /** Servos whose silence was expected and has not been told of. */
  readonly #untold = new Set<number>();

  private constructor(
    options: BusThreadOptions,
    worker: Worker,
    memory: BusMemory,
    { reason, realtime }: Opened,
  ) {
    this.#options = options;
    this.#worker = worker;
    this.name = options.name;
    this.port = options.openBus.port;
    this.memory = memory;
    this.driverReason = reason;
    this.realtime = realtime;
    worker.onmessage = ({ data }: MessageEvent<BusReply>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#end(event.message);
    };
  }

  /**
   * Start a thread and let it open its bus.
   *
   * @param options Port, rate, stop and who is told.
   * @returns The bus, in mode `idle`.
   * @throws {BusError} The port cannot be opened.
   * @throws {Error} The driver is not there, or the thread does not start.
   */
  static async open(options: BusThreadOptions): Promise<BusThread> {
    const { openBus, rateHz, epochMs, latch, name } = options;
    const worker = (options.startWorker ?? startWorker)();
    const memory = createBusMemory();
    const opened = Promise.withResolvers<Opened>();
    const refuse = (why: string) =>
      opened.reject(new Error(`Cannot start the thread of the ${name}: ${why}`));
    worker.onmessage = ({ data }: MessageEvent<BusReply>) => {
      if (data.kind === "opened") opened.resolve(data);
      else if (data.kind === "notOpened") opened.reject(errorOf(data.failure, Error));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      refuse(event.message);
    };
    const timer = setTimeout(() => refuse(`no answer in ${OPEN_DEADLINE_MS} ms`), OPEN_DEADLINE_MS);
    try {
      const setup = { openBus, rateHz, epochMs, latch, memory };
      worker.postMessage({ kind: "open", setup } satisfies BusRequest);
      return new BusThread(options, worker, memory, await opened.promise);
    } catch (error) {
      worker.terminate();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** What the cycles do, as far as the thread has told. */
  get mode(): BusMode {
    return this.#mode;
  }

  /**
   * Change what the cycles do. Driving anew writes nothing before a setpoint that is younger than three
   * cycles.
   *
   * @param mode What they shall do.
   * @throws {BusError} The port is gone (`device`), or an emergency stop with torque off is in force
   *   (`refused`).
   */
  async setMode(mode: BusMode): Promise<void> {
    await this.#ask((call) => ({ kind: "mode", call, mode }));
    this.#mode = mode;
  }

  /** Set all counters to 0. @throws {BusError} The thread is gone. */
  async resetCounters(): Promise<void> {
    await this.#ask((call) => ({ kind: "resetCounters", call }));
  }

  /** What the servos said last; null before the first cycle. */
  readState(): BusState | null {
    return readBusState(this.memory);
  }

  /** The servos' health; null before it was first read. */
  readHealth(): BusHealth | null {
    return readBusHealth(this.memory);
  }

  /** What has been counted. */
  counters(): BusCounters {
    return readBusCounters(this.memory);
  }

  /** Ask a servo who it is. @param id The servo. @throws {BusError} No valid answer came. */
  async ping(id: number): Promise<PingReply> {
    return await this.#askServo({ kind: "ping", id }) as PingReply;
  }

  /**
   * Read an item.
   *
   * @param id The servo.
   * @param item The item.
   * @returns Its value.
   * @throws {BusError} No valid answer came, or the servo refused (`refused`).
   */
  async read(id: number, item: ControlItemName): Promise<number> {
    return await this.#askServo({ kind: "read", id, item }) as number;
  }

  /**
   * Write an item.
   *
   * @param id The servo.
   * @param item The item.
   * @param value The value, in the item's unit.
   * @throws {BusError} No valid answer came, the servo refused, or it would move an arm that an
   *   emergency stop holds (`refused`).
   * @throws {RangeError} The value does not fit the item.
   */
  async write(id: number, item: ControlItemName, value: number): Promise<void> {
    await this.#askServo({ kind: "write", id, item, value });
  }

  /** Restart a servo. @param id The servo. @throws {BusError} No valid answer came. */
  async reboot(id: number): Promise<void> {
    await this.#askServo({ kind: "reboot", id });
  }

  /**
   * Say which servos are restarted on purpose: nothing is logged of their silence, events come all the
   * same. A servo that is silent still when it is not expected any more is told of then.
   *
   * @param ids The servos; none ends it.
   */
  expectSilence(ids: readonly number[]): void {
    this.#expected = ids;
    const still = [...this.#untold].filter((id) => !ids.includes(id));
    for (const id of still) this.#untold.delete(id);
    this.#tellOfServos("warn", "No answer from", still);
  }

  /** Close the port and end the thread. The servos stay as they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#failure === undefined) {
      this.#worker.postMessage({ kind: "stop" } satisfies BusRequest);
      const timer = setTimeout(() => this.#stopped.resolve(), CLOSE_DEADLINE_MS);
      await this.#stopped.promise;
      clearTimeout(timer);
    }
    this.#worker.terminate();
    this.#rejectAll({ message: `The thread of ${this.port} has been closed`, fault: "device" });
    this.#mode = "idle";
  }

  #askServo(request: ServoCall): Promise<CallValue> {
    return this.#ask((call) => ({ kind: "servo", call, request }));
  }

  #ask(question: (call: number) => BusRequest): Promise<CallValue> {
    if (this.#failure !== undefined) return Promise.reject(errorOf(this.#failure));
    const call = ++this.#lastCall;
    const answer = Promise.withResolvers<CallValue>();
    this.#calls.set(call, answer);
    this.#worker.postMessage(question(call));
    const timer = setTimeout(() => {
      const message = `The thread of ${this.port} has not answered for ${CALL_DEADLINE_MS} ms; ` +
        "open the bus anew";
      this.#take(call)?.reject(new BusError(message, "timeout"));
    }, CALL_DEADLINE_MS);
    return answer.promise.finally(() => clearTimeout(timer));
  }

  #receive(reply: BusReply): void {
    switch (reply.kind) {
      case "done":
        this.#take(reply.call)?.resolve(reply.value);
        return;
      case "failed":
        this.#take(reply.call)?.reject(errorOf(reply.failure));
        return;
      case "event":
        return this.#tell(reply.event);
      case "crashed":
        return this.#end(reply.message);
      case "stopped":
        return this.#stopped.resolve();
      case "opened":
      case "notOpened":
        return; // open() has heard them.
      default:
        reply satisfies never;
    }
  }

  #take(call: number): PromiseWithResolvers<CallValue> | undefined {
    const answer = this.#calls.get(call);
    this.#calls.delete(call);
    return answer;
  }

  /** The thread is gone, and with it whoever could answer. */
  #end(why: string): void {
    if (this.#failure !== undefined) return;
    const sentence = `The thread of ${this.port} has failed: ${why}; open the bus anew`;
    this.#worker.terminate();
    this.#stopped.resolve();
    this.#rejectAll({ message: sentence, fault: "device" });
    this.#tell({ kind: "lost", sentence, isFinal: true });
  }

  #rejectAll(failure: Failure): void {
    this.#failure ??= failure;
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.reject(errorOf(this.#failure));
  }

  #tell(event: BusEvent): void {
    const { logger, name, onEvent } = this.#options;
    switch (event.kind) {
      case "lost":
        this.#mode = "idle";
        logger.error(`The ${name} is lost: ${event.sentence}`);
        break;
      case "back":
        logger.info(`The ${name} is back: ${event.sentence}`);
        break;
      case "silent": {
        const isExpected = (id: number) => this.#expected.includes(id);
        for (const id of event.ids.filter(isExpected)) this.#untold.add(id);
        this.#tellOfServos("warn", "No answer from", event.ids.filter((id) => !isExpected(id)));
        break;
      }
      case "heard": {
        const told = event.ids.filter((id) => !this.#untold.delete(id));
        this.#tellOfServos("info", "Answers again from", told);
        break;
      }
      case "mode":
        this.#mode = event.mode;
        logger.warn(`The ${name} has gone to mode ${event.mode} by itself: torque was turned off`);
        break;
      default:
        event satisfies never;
    }
    onEvent?.(event);
  }

  #tellOfServos(level: "info" | "warn", what: string, ids: readonly number[]): void {
    if (ids.length === 0) return;
    const servos = `servo${ids.length > 1 ? "s" : ""} ${ids.join(", ")}`;
    this.#options.logger[level](`${what} ${servos} of the ${this.name}`);
  }
}

function startWorker(): Worker {
  return new Worker(new URL("./bus_worker.ts", import.meta.url), { type: "module" });
}

function errorOf(
  { message, fault }: Failure,
  otherwise: ErrorConstructor | RangeErrorConstructor = RangeError,
): Error {
  return fault === undefined ? new otherwise(message) : new BusError(message, fault);
}

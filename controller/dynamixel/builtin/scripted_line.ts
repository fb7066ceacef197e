/**
 * A pseudo-terminal with scripted servos at its other end, for tests that need one particular fault at
 * one particular moment. The servo emulator is for everything that servos do.
 *
 * @module
 */

/** Bytes of a scripted servo's memory. */
export const TABLE_BYTES = 147;

/** Where each order is in the shared memory. */
export const ORDER = {
  /** 1: close the other end. */
  unplug: 0,
  /** Answers that are not sent from now on. */
  drops: 1,
  /** Answers with a wrong byte from now on. */
  corruptions: 2,
  /** Answers with bytes before them that are no packet. */
  garbage: 3,
  /** Servo that is not there; −1 for none. */
  vanishedId: 4,
  /** Error byte of every answer. */
  errorByte: 5,
  /** 1 once the other end is closed. */
  isUnplugged: 6,
  /** Instructions that came so far. */
  requests: 7,
  /** How late answers are from now on, in ms; they keep their order. */
  delayMs: 8,
} as const;

/** What the thread is told at its start. */
export interface ScriptedServos {
  /** IDs of the servos. */
  readonly ids: readonly number[];
  /** Model number that they show. */
  readonly model: number;
  /** Firmware that they show. */
  readonly firmware: number;
  /** Orders, one 32-bit number each, at the places of {@link ORDER}. */
  readonly orders: SharedArrayBuffer;
}

/** A line of scripted servos. */
export class ScriptedLine implements AsyncDisposable {
  /** The device that a bus opens. */
  readonly port: string;
  readonly #worker: Worker;
  readonly #orders: Int32Array;
  readonly #closed: Promise<void>;

  private constructor(worker: Worker, orders: Int32Array, port: string) {
    this.port = port;
    this.#worker = worker;
    this.#orders = orders;
    this.#closed = new Promise((resolve) => worker.onmessage = () => resolve());
  }

  /**
   * Start servos.
   *
   * @param ids Their IDs.
   * @param model Model number that they show.
   * @param firmware Firmware that they show.
   * @returns The line, ready to be opened.
   */
  static async open(ids: readonly number[], model = 1020, firmware = 45): Promise<ScriptedLine> {
    const url = new URL("./scripted_line_worker.ts", import.meta.url);
    const worker = new Worker(url, { type: "module" });
    const orders = new Int32Array(new SharedArrayBuffer(9 * 4));
    orders[ORDER.vanishedId] = -1;
    const port = await new Promise<string>((resolve) => {
      worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
      const servos = { ids, model, firmware, orders: orders.buffer as SharedArrayBuffer };
      worker.postMessage(servos satisfies ScriptedServos);
    });
    return new ScriptedLine(worker, orders, port);
  }

  /** Instructions that have come to the servos. */
  get requests(): number {
    return Atomics.load(this.#orders, ORDER.requests);
  }

  /**
   * Give an order. It holds for the next instruction.
   *
   * @param order One of {@link ORDER}.
   * @param value Its value.
   */
  order(order: number, value: number): void {
    Atomics.store(this.#orders, order, value);
  }

  /** Close the other end and wait until it is closed. */
  unplug(): void {
    this.order(ORDER.unplug, 1);
    Atomics.wait(this.#orders, ORDER.isUnplugged, 0, 5_000);
  }

  /** Stop the thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.order(ORDER.unplug, 1);
    await this.#closed;
    this.#worker.terminate();
  }
}

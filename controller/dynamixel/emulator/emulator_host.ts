/**
 * Emulated buses for a program: starts the thread that serves them, and owns it.
 *
 * @module
 */

import type {
  EmulatedBusSpec,
  EmulatorCommand,
  EmulatorReply,
  EmulatorRequest,
} from "./emulator_messages.ts";

/** Longest wait for the thread to start or to stop, in ms. */
const DEADLINE_MS = 10_000;

/** Buses that run in a thread of their own, until disposed of. */
export class EmulatorHost implements AsyncDisposable {
  /** What a driver opens, for each bus: its link, or the pseudo-terminal itself. */
  readonly ports: readonly string[];
  /** Present_Position in ticks of each servo of each bus, kept up to date; read with Atomics.load. */
  readonly positions: readonly Int32Array[];
  readonly #worker: Worker;
  readonly #calls = new Map<number, PromiseWithResolvers<number | string | undefined>>();
  readonly #stopped = Promise.withResolvers<void>();
  #lastCall = 0;
  #failure: Error | undefined;

  private constructor(worker: Worker, ports: readonly string[], positions: readonly Int32Array[]) {
    this.#worker = worker;
    this.ports = ports;
    this.positions = positions;
    worker.onmessage = ({ data }: MessageEvent<EmulatorReply>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#failure = new Error(`The servo emulator has failed: ${event.message}`);
      for (const call of this.#calls.values()) call.reject(this.#failure);
      this.#calls.clear();
      this.#stopped.resolve();
    };
  }

  /**
   * Start buses.
   *
   * @param buses The buses to emulate.
   * @returns The running buses.
   * @throws {Error} This is no Linux, there is no pseudo-terminal, or a link cannot be made.
   */
  static async start(buses: readonly EmulatedBusSpec[]): Promise<EmulatorHost> {
    const worker = new Worker(new URL("./emulator_worker.ts", import.meta.url), { type: "module" });
    const shared = buses.map(({ servos }) => new SharedArrayBuffer(4 * servos.length));
    const ready = Promise.withResolvers<readonly string[]>();
    worker.onmessage = ({ data }: MessageEvent<EmulatorReply>) => {
      if (data.kind === "ready") ready.resolve(data.ports);
      else if (data.kind === "refused") ready.reject(notStarted(data.message));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      ready.reject(notStarted(event.message));
    };
    worker.postMessage({ kind: "start", buses, positions: shared } satisfies EmulatorRequest);
    try {
      const timer = setTimeout(
        () => ready.reject(notStarted(`its thread has said nothing for ${DEADLINE_MS} ms`)),
        DEADLINE_MS,
      );
      const ports = await ready.promise.finally(() => clearTimeout(timer));
      return new EmulatorHost(worker, ports, shared.map((buffer) => new Int32Array(buffer)));
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /**
   * Do something to a bus.
   *
   * @param bus Index of the bus.
   * @param command What.
   * @returns The value of `get`, the device of `plug`, nothing otherwise.
   * @throws {Error} The emulator refused, or it is gone.
   */
  command(bus: number, command: EmulatorCommand): Promise<number | string | undefined> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const call = ++this.#lastCall;
    const answer = Promise.withResolvers<number | string | undefined>();
    this.#calls.set(call, answer);
    this.#worker.postMessage({ kind: "command", call, bus, command } satisfies EmulatorRequest);
    return answer.promise;
  }

  /** Close the devices, remove the links and end the thread. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#worker.postMessage({ kind: "stop" } satisfies EmulatorRequest);
    // A thread that does not stop in time is ended all the same.
    const timer = setTimeout(() => this.#stopped.resolve(), DEADLINE_MS);
    await this.#stopped.promise;
    clearTimeout(timer);
    this.#worker.terminate();
    this.#failure ??= new Error("The servo emulator has been stopped");
    for (const call of this.#calls.values()) call.reject(this.#failure);
    this.#calls.clear();
  }

  #receive(reply: EmulatorReply): void {
    if (reply.kind === "stopped") this.#stopped.resolve();
    if (reply.kind !== "done" && reply.kind !== "failed") return;
    const call = this.#calls.get(reply.call);
    this.#calls.delete(reply.call);
    if (reply.kind === "done") call?.resolve(reply.value);
    else call?.reject(new Error(`The servo emulator refused: ${reply.message}`));
  }
}

function notStarted(why: string): Error {
  return new Error(`The servo emulator has not started: ${why}`);
}

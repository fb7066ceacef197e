/**
 * Does something to a moving robot at a random moment, and watches the servos while it comes to rest.
 *
 * It does both from a thread of its own: on the thread that infers, a request could leave only between
 * two pieces of inference, which are the moments at which it is heard best.
 *
 * @module
 */

import type { PositionSamples } from "./servo_stop.ts";

/** What to do to the robot. */
export type ProbeAction =
  /** Send an HTTP POST. */
  | { readonly kind: "post"; readonly url: string }
  /** Kill a process as the system does when memory runs out. */
  | { readonly kind: "kill"; readonly pid: number };

/** To the thread. */
export interface ProbeRequest {
  /** What to do. */
  readonly action: ProbeAction;
  /** Samples before it, in ms. */
  readonly beforeMs: number;
  /** Samples after it, in ms. */
  readonly afterMs: number;
  /** For each bus, an int32 for each servo: its Present_Position in ticks. */
  readonly positions: readonly Int32Array[];
}

/** From the thread. */
export type ProbeReply =
  | {
    readonly kind: "done";
    /** When it began to do it, in ms of `sharedNowMs`. */
    readonly actedMs: number;
    /** Where the servos were. */
    readonly samples: PositionSamples;
  }
  | { readonly kind: "failed"; readonly message: string };

/** What a probe saw. */
export type ProbeResult = Omit<ProbeReply & { readonly kind: "done" }, "kind">;

/** Longest time beyond the samples themselves, in ms. */
const DEADLINE_MS = 10_000;

/** A thread that probes, one probe after the other. */
export class StopProbe implements Disposable {
  readonly #worker = new Worker(new URL("./stop_probe_worker.ts", import.meta.url), {
    type: "module",
  });

  /**
   * Do something, and watch.
   *
   * @param request What, and how long to watch.
   * @returns When it was done and where the servos were.
   * @throws {Error} It cannot be done.
   */
  async probe(request: ProbeRequest): Promise<ProbeResult> {
    const { promise, resolve, reject } = Promise.withResolvers<ProbeResult>();
    this.#worker.onmessage = ({ data }: MessageEvent<ProbeReply>) => {
      if (data.kind === "done") resolve(data);
      else reject(new Error(`Cannot probe: ${data.message}`));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`Cannot probe: ${event.message}`));
    };
    const { beforeMs, afterMs } = request;
    const timer = setTimeout(
      () => reject(new Error("Cannot probe: its thread does not answer")),
      beforeMs + afterMs + DEADLINE_MS,
    );
    this.#worker.postMessage(request);
    return await promise.finally(() => clearTimeout(timer));
  }

  /** End the thread. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

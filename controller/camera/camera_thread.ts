/**
 * The controller's end of the thread that reads the cameras.
 *
 * @module
 */

import type { CameraStatus } from "./camera.ts";
import type { CameraReply, CameraRequest } from "./camera_messages.ts";

/** Exchanges by which the thread's clock is compared with the controller's. */
const CLOCK_ROUNDS = 8;
/** Longest wait for the thread to start or to close its cameras, in ms. */
const DEADLINE_MS = 10_000;

/** What {@link openCameraThread} is told. */
export interface CameraThreadOptions {
  /** The controller's clock, in ms. */
  readonly now: () => number;
  /** Called when a camera has changed its state. */
  readonly onStatus: (status: CameraStatus) => void;
  /** Called with a sentence if the thread cannot open the cameras or ends by itself. */
  readonly onFailure: (sentence: string) => void;
}

/** A thread that runs. */
export interface CameraThread {
  /** Open the cameras, once. */
  start(request: Omit<CameraRequest & { kind: "start" }, "kind" | "clockOffsetMs">): void;
  /**
   * Close the cameras and end the thread.
   * @returns Whether the cameras were closed in time; the thread is gone in any case.
   */
  close(): Promise<boolean>;
}

/**
 * Start the thread and compare its clock with the controller's.
 *
 * @param options The clock, and who is told what the thread says.
 * @returns The thread, without cameras yet.
 * @throws {Error} It does not start.
 */
export async function openCameraThread(options: CameraThreadOptions): Promise<CameraThread> {
  const { now, onStatus, onFailure } = options;
  const worker = new Worker(new URL("./camera_worker.ts", import.meta.url), { type: "module" });
  const send = (request: CameraRequest) => worker.postMessage(request);
  let clockOffsetMs: number;
  try {
    clockOffsetMs = await compareClocks(worker, now);
  } catch (error) {
    worker.terminate();
    throw error;
  }
  const stopped = Promise.withResolvers<void>();
  worker.onmessage = ({ data }: MessageEvent<CameraReply>) => {
    if (data.kind === "status") onStatus(data.status);
    else if (data.kind === "stopped") stopped.resolve();
    else if (data.kind === "failed") onFailure(data.sentence);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    stopped.resolve();
    onFailure(`the thread that reads the cameras has failed: ${event.message}`);
  };
  return {
    start: (request) => send({ ...request, kind: "start", clockOffsetMs }),
    close: async () => {
      send({ kind: "stop" });
      const isInTime = await settlesInTime(stopped.promise);
      worker.terminate();
      return isInTime;
    },
  };
}

/**
 * What to add to the thread's clock to get the controller's, in ms. Each clock starts with its
 * thread. The thread reads its clock after the question was sent, so every exchange gives a lower
 * bound; the largest is taken, off by one message's way, which makes pictures look older, never newer.
 */
async function compareClocks(worker: Worker, now: () => number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  let offsetMs = -Infinity;
  let rounds = 0;
  const ask = () => worker.postMessage({ kind: "ping", sentMs: now() } satisfies CameraRequest);
  worker.onmessage = ({ data }: MessageEvent<CameraReply>) => {
    if (data.kind !== "pong") return;
    offsetMs = Math.max(offsetMs, data.sentMs - data.threadMs);
    if (++rounds < CLOCK_ROUNDS) ask();
    else resolve(offsetMs);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`Cannot start the thread that reads the cameras: ${event.message}`));
  };
  ask();
  if (await settlesInTime(promise)) return promise;
  throw new Error(
    `Cannot start the thread that reads the cameras: no answer in ${DEADLINE_MS / 1000} s`,
  );
}

/** Whether a promise settles before the deadline. */
async function settlesInTime(promise: Promise<unknown>): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), DEADLINE_MS);
  try {
    return await Promise.race([promise.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

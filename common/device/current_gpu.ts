/**
 * The GPU that tfjs computes on. There is one an isolate, as tfjs itself is.
 * @module
 */

import { type GpuDevice, openGpuDevice, type OpenGpuOptions } from "./gpu_device.ts";

let current: GpuDevice | null = null;
/** Settles when whoever opens or closes a device now is done: two at once would leave one to nobody. */
let turn: Promise<void> = Promise.resolve();

/** The device that tfjs's "webgpu" computes on, be that backend in force or not; null for none. */
export function currentGpu(): GpuDevice | null {
  return current;
}

/**
 * Make tfjs compute on a GPU: on the one that it has, if that is alive and will do, else on a new one.
 * Tensors that it had on another one are gone then: assign to the variables again.
 *
 * @returns The device; {@link closeGpu} disposes of it.
 * @throws {GpuUnavailableError} There is none; tfjs stays as it was.
 */
export function useGpu(options: OpenGpuOptions): Promise<GpuDevice> {
  return inTurn(() => openOrKeep(options));
}

/** Take the GPU away from tfjs and dispose of it, if there is one. Set a backend afterwards. */
export function closeGpu(): Promise<void> {
  return inTurn(close);
}

function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const done = turn.then(work);
  turn = done.then(() => {}, () => {});
  return done;
}

async function openOrKeep(options: OpenGpuOptions): Promise<GpuDevice> {
  const before = current;
  const isFit = before !== null && !before.isLost &&
    (options.allowSoftware || !before.info.isSoftware);
  const gpu = isFit ? before : await openGpuDevice(options);
  // tfjs's WebGPU backend is big: it is loaded only where there is a GPU.
  const { installTfjsBackend } = await import("./tfjs_backend.ts");
  await installTfjsBackend(gpu);
  current = gpu;
  if (before !== gpu) before?.[Symbol.dispose]();
  return gpu;
}

async function close(): Promise<void> {
  if (current === null) return;
  const gpu = current;
  current = null;
  const { removeTfjsBackend } = await import("./tfjs_backend.ts");
  removeTfjsBackend();
  gpu[Symbol.dispose]();
}

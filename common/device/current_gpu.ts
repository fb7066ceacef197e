/**
 * The GPU that tfjs computes on. There is one an isolate, as tfjs itself is.
 * @module
 */

import { type GpuDevice, openGpuDevice, type OpenGpuOptions } from "./gpu_device.ts";

let current: GpuDevice | null = null;

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
export async function useGpu(options: OpenGpuOptions): Promise<GpuDevice> {
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

/** Take the GPU away from tfjs and dispose of it, if there is one. Set a backend afterwards. */
export async function closeGpu(): Promise<void> {
  if (current === null) return;
  const gpu = current;
  current = null;
  const { removeTfjsBackend } = await import("./tfjs_backend.ts");
  removeTfjsBackend();
  gpu[Symbol.dispose]();
}

/**
 * Tells what lies behind an error of WebGPU.
 *
 * A device that is lost shows first as something else, such as a buffer that cannot be mapped; that it
 * is lost is known a turn of the event loop later.
 *
 * @module
 */

import { currentGpu } from "./current_gpu.ts";
import type { GpuDevice } from "./gpu_device.ts";
import { withinMs } from "./within_ms.ts";

/** How long word of a loss is waited for, in ms. It takes one or two. */
const NOTICE_MS = 50;

/**
 * Throw what lies behind an error.
 *
 * @param error What was caught.
 * @param gpu Where it happened.
 * @throws {GpuLostError} The device is lost.
 * @throws {Error} The device refused a command, whose reason this has; else the error itself.
 */
export async function throwGpuFault(error: unknown, gpu: GpuDevice): Promise<never> {
  // WebGPU's errors are DOMExceptions; what we throw ourselves says already what is wrong.
  if (!(error instanceof DOMException)) throw error;
  await withinMs(gpu.lost, NOTICE_MS);
  gpu.check();
  throw error;
}

/**
 * Do something that may compute on the GPU. If it fails because the GPU has, the error says so.
 *
 * @throws {GpuLostError} The device is lost.
 * @throws What the work throws.
 */
export async function tellGpuFaults<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const gpu = currentGpu();
    if (gpu === null) throw error;
    return await throwGpuFault(error, gpu);
  }
}

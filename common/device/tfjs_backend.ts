/**
 * tfjs's WebGPU backend on a device of ours, so that its tensors and our own kernels share buffers.
 *
 * It is registered under tfjs's own name of it, in the place of tfjs's own: kernels, ours too, are
 * found by that name, and gradients, which belong to no backend, work as they are. (Under a name of
 * our own every kernel would have to be registered twice.)
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import type { GpuDevice } from "./gpu_device.ts";
import { throwGpuFault } from "./tell_gpu_faults.ts";

/** tfjs's name of the backend. Register kernels under it. */
export const TFJS_WEBGPU = "webgpu";

/** tfjs's own priority of it: above wasm, which has 2. */
const PRIORITY = 3;

/** tfjs's backend, which gives no value that a failed command was part of. */
class CheckedWebgpuBackend extends WebGPUBackend {
  /** The device that it computes on. Whoever opened it disposes of it. */
  readonly gpu: GpuDevice;

  /** Begin on a device. */
  constructor(gpu: GpuDevice) {
    super(gpu.device, gpu.adapterInfo);
    this.gpu = gpu;
  }

  /**
   * Read a tensor's values.
   *
   * @throws {GpuLostError} The device has gone.
   * @throws {Error} The device refused commands since the last read.
   */
  override async read(dataId: object): ReturnType<WebGPUBackend["read"]> {
    const values = await super.read(dataId).catch((error) => throwGpuFault(error, this.gpu));
    this.gpu.check();
    return values;
  }
}

/** The device under tfjs's registered backend: there is one an isolate, as tfjs itself is. */
let installed: GpuDevice | null = null;

/**
 * Make tfjs compute on a device. Tensors that it held on another one before are gone then.
 *
 * @param gpu The device; it stays the caller's.
 */
export async function installTfjsBackend(gpu: GpuDevice): Promise<void> {
  if (installed !== gpu) {
    removeTfjsBackend();
    const backend = new CheckedWebgpuBackend(gpu);
    tf.registerBackend(TFJS_WEBGPU, () => backend, PRIORITY);
    installed = gpu;
  }
  await tf.setBackend(TFJS_WEBGPU);
}

/** Take the backend out of tfjs, with its buffers; tfjs's own too, which would open its own device. */
export function removeTfjsBackend(): void {
  if (tf.engine().backendNames().includes(TFJS_WEBGPU)) tf.removeBackend(TFJS_WEBGPU);
  installed = null;
}

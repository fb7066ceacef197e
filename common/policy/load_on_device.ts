/**
 * Loads a policy onto the device in force; where a GPU has no room for it, a small one goes on in
 * WebAssembly.
 *
 * @module
 */

import { closeGpu, currentGpu } from "../device/current_gpu.ts";
import { MAX_WASM_PARAMETERS } from "../device/device_supervisor.ts";
import { GpuMemoryError } from "../device/errors.ts";
import type { GpuDevice } from "../device/gpu_device.ts";
import { CAMERA_NAMES, type Logger, type Observation, type RgbImage } from "../types.ts";
import type { ActorCritic } from "./actor_critic.ts";
import { type ChosenDevice, useDevice } from "./backend.ts";
import type { LoadedPolicy } from "./load.ts";
import { backboneSpecs, parameterCount } from "./parameters.ts";
import { VARIANTS } from "./variants.ts";

/** What {@link loadOnDevice} works with. */
export interface LoadOnDeviceOptions {
  /** The device in force. */
  readonly device: ChosenDevice;
  /** Which model it will be: what a device without a GPU can serve depends on its size. */
  readonly variant: keyof typeof VARIANTS;
  /** Loads the policy; called a second time after a change of device. */
  readonly load: () => Promise<LoadedPolicy>;
  /** Hears of a change of device. */
  readonly logger: Logger;
}

/**
 * Load a policy and, on a GPU, sample one chunk with it: weights are uploaded and kernels compiled
 * then, and not when a robot waits for its first chunk.
 *
 * @returns The policy and the device that it computes on.
 * @throws {GpuMemoryError} The GPU has no room, and the policy is too large for WebAssembly.
 * @throws {NonFiniteError} The policy computes no numbers.
 */
export async function loadOnDevice(
  { device, variant, load, logger }: LoadOnDeviceOptions,
): Promise<{ readonly loaded: LoadedPolicy; readonly device: ChosenDevice }> {
  const gpu = device.backend === "webgpu" ? currentGpu() : null;
  if (gpu === null) return { loaded: await load(), device };
  try {
    return { loaded: await loadOnGpu(gpu, load), device };
  } catch (error) {
    if (!(error instanceof GpuMemoryError)) throw error;
    const parameters = parameterCount(backboneSpecs(VARIANTS[variant]));
    if (parameters > MAX_WASM_PARAMETERS) throw error;
    await closeGpu();
    const { backend } = await useDevice("wasm");
    logger.warn(`${error.message}; the policy is small and goes on in WebAssembly`);
    return { loaded: await load(), device: { backend, reason: `${gpu.info.name} has no room` } };
  }
}

async function loadOnGpu(
  gpu: GpuDevice,
  load: () => Promise<LoadedPolicy>,
): Promise<LoadedPolicy> {
  const loaded = await load();
  try {
    await sampleOnce(loaded.policy);
    gpu.check();
    return loaded;
  } catch (error) {
    loaded.policy[Symbol.dispose]();
    throw error;
  }
}

/** One chunk for black pictures, arms at zero and no words. */
async function sampleOnce(policy: ActorCritic): Promise<void> {
  const { imageSize } = policy.shape.variant.siglip;
  const black: RgbImage = {
    width: imageSize,
    height: imageSize,
    data: new Uint8Array(imageSize * imageSize * 3),
  };
  const images = Object.fromEntries(CAMERA_NAMES.map((camera) => [camera, black]));
  const observation: Observation = {
    images: images as Record<typeof CAMERA_NAMES[number], RgbImage>,
    state: new Float32Array(14),
    prompt: "",
  };
  await policy.sampleActions([observation], { temperature: 0, random: () => 0 });
}

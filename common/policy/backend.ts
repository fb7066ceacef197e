/**
 * Sets up tfjs: which backend, and the kernels that its WebAssembly backend lacks or does slowly.
 * @module
 */

import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { useGpu } from "../device/current_gpu.ts";
import { GpuUnavailableError } from "../device/errors.ts";
import type { GpuDevice, OpenGpuOptions } from "../device/gpu_device.ts";
import { registerWasmKernels } from "./wasm_kernels.ts";

/** Where the policy computes. */
export type DeviceName = "auto" | "wasm" | "webgpu" | "cpu";

/** What was chosen and why. */
export interface ChosenDevice {
  /** The tfjs backend in force. */
  readonly backend: Exclude<DeviceName, "auto">;
  /** One clause for people. */
  readonly reason: string;
  /** The GPU, if the backend is webgpu. tfjs shares it; `closeGpu()` disposes of it. */
  readonly gpu?: GpuDevice;
}

/**
 * Make a tfjs backend current.
 *
 * @param device `auto` takes WebGPU on a real GPU, else WebAssembly. `webgpu` takes a software
 *   renderer, too, since it was asked for.
 * @param source Where adapters come from; `navigator.gpu` if absent.
 * @returns What was chosen.
 * @throws {Error} The device cannot be had; the sentence says what to do.
 */
export async function useDevice(
  device: DeviceName,
  source?: OpenGpuOptions["gpu"],
): Promise<ChosenDevice> {
  if (device === "auto") return await chooseDevice(source);
  if (device === "webgpu") {
    try {
      const gpu = await useGpu({ allowSoftware: true, gpu: source });
      return { backend: device, reason: `it was asked for: ${nameOf(gpu)}`, gpu };
    } catch (cause) {
      if (!(cause instanceof GpuUnavailableError)) throw cause;
      throw new Error(`Cannot use --device webgpu: ${cause.problem}; ${cause.remedy}`, { cause });
    }
  }
  if (device === "wasm") {
    setWasmPaths(
      fileURLToPath(new URL(".", import.meta.resolve("@tensorflow/tfjs-backend-wasm"))),
    );
    registerWasmKernels();
  }
  if (!(await tf.setBackend(device))) {
    throw new Error(`Cannot use --device ${device}: tfjs could not start this backend`);
  }
  await tf.ready();
  return { backend: device, reason: "it was asked for" };
}

async function chooseDevice(source: OpenGpuOptions["gpu"]): Promise<ChosenDevice> {
  try {
    const gpu = await useGpu({ allowSoftware: false, gpu: source });
    return { backend: "webgpu", reason: `auto found the GPU ${nameOf(gpu)}`, gpu };
  } catch (error) {
    if (!(error instanceof GpuUnavailableError)) throw error;
    const { backend } = await useDevice("wasm");
    return { backend, reason: `auto found no GPU to use: ${error.problem}` };
  }
}

/** A GPU with what sets it apart: "NVIDIA L4 (16-bit floats, subgroups, timestamps)". */
function nameOf({ info, features }: GpuDevice): string {
  const traits = [
    info.isSoftware ? "a software renderer" : "",
    features.hasF16 ? "16-bit floats" : "",
    features.hasSubgroups ? "subgroups" : "",
    features.hasTimestamps ? "timestamps" : "",
  ].filter((trait) => trait !== "");
  return traits.length === 0 ? info.name : `${info.name} (${traits.join(", ")})`;
}

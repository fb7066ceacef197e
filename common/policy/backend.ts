/**
 * Sets up tfjs: which backend, and the kernels that its WebAssembly backend lacks or does slowly.
 * @module
 */

import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { registerWasmKernels } from "./wasm_kernels.ts";

/** Where the policy computes. */
export type DeviceName = "auto" | "wasm" | "webgpu" | "cpu";

/** What was chosen and why. */
export interface ChosenDevice {
  /** The tfjs backend in force. */
  readonly backend: Exclude<DeviceName, "auto">;
  /** One sentence for people. */
  readonly reason: string;
}

/**
 * Make a tfjs backend current.
 * @param device `auto` takes WebGPU on a real GPU, else WebAssembly.
 * @returns What was chosen.
 * @throws Error if the device cannot be had; the sentence says what to do.
 */
export async function useDevice(device: DeviceName): Promise<ChosenDevice> {
  if (device === "auto") {
    const isRealGpu = await hasGpuAdapter();
    const { backend } = await useDevice(isRealGpu ? "webgpu" : "wasm");
    return {
      backend,
      reason: isRealGpu ? "a GPU adapter was found" : "no GPU adapter was found",
    };
  }
  if (device === "wasm") {
    setWasmPaths(
      fileURLToPath(new URL(".", import.meta.resolve("@tensorflow/tfjs-backend-wasm"))),
    );
    registerWasmKernels();
  }
  if (device === "webgpu") {
    await import("@tensorflow/tfjs-backend-webgpu");
    if (!(await navigator.gpu?.requestAdapter())) {
      throw new Error(
        "Cannot use --device webgpu: no WebGPU adapter was found; install a Vulkan driver " +
          "(Debian: mesa-vulkan-drivers) or use --device wasm",
      );
    }
  }
  if (!(await tf.setBackend(device))) {
    throw new Error(`Cannot use --device ${device}: tfjs could not start this backend`);
  }
  await tf.ready();
  return { backend: device, reason: "it was asked for" };
}

/** True if there is a GPU that is not a software renderer (those carry "llvmpipe" in their name). */
async function hasGpuAdapter(): Promise<boolean> {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) return false;
  return !/llvmpipe|lavapipe|swiftshader/i.test(
    `${adapter.info.description} ${adapter.info.device} ${adapter.info.vendor}`,
  );
}

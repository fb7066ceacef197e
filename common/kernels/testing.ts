/**
 * What tests of kernels share: the devices at hand, random numbers, and how far results are apart.
 *
 * @module
 */

import { normal, seededRandom } from "../random.ts";

/** A device that kernels are tested on. */
export type KernelDevice = "cpu" | "wasm" | "webgpu";

/**
 * The devices at hand, cpu first.
 * @param subject What the tests are of; when there is no WebGPU a line says that they are skipped there.
 */
export async function kernelDevices(subject: string): Promise<KernelDevice[]> {
  const reason = await whyNoWebgpu();
  if (!reason) return ["cpu", "wasm", "webgpu"];
  console.log(`Tests of ${subject} on webgpu are skipped: ${reason}.`);
  return ["cpu", "wasm"];
}

async function whyNoWebgpu(): Promise<string | undefined> {
  if (!navigator.gpu) return "this Deno has no navigator.gpu";
  if (await navigator.gpu.requestAdapter()) return undefined;
  return "there is no WebGPU adapter; Debian's mesa-vulkan-drivers gives a software one";
}

/** Independent standard normal numbers, always the same for a seed. */
export function drawn(seed: number, count: number): Float32Array {
  const random = seededRandom(seed);
  return Float32Array.from({ length: count }, () => normal(random));
}

/**
 * Greatest difference, relative to the greatest value that is expected; Infinity when lengths differ
 * or a number is NaN. All-zero expectations count as 1.
 */
export function relativeError(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity;
  let most = 0, scale = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(found[i] - expected[i]);
    if (Number.isNaN(difference)) return Infinity;
    most = Math.max(most, difference);
    scale = Math.max(scale, Math.abs(expected[i]));
  }
  return most / (scale || 1);
}

/**
 * GPU memory, all that was asked for or none of it.
 * @module
 */

import { GpuMemoryError } from "./errors.ts";
import type { GpuDevice } from "./gpu_device.ts";

/** One buffer that is wanted. */
export interface BufferRequest {
  /** What it is for, such as "the key cache"; errors name it. */
  readonly label: string;
  /** Its size, a multiple of 4 above 0. */
  readonly bytes: number;
  /** `GPUBufferUsage` flags. */
  readonly usage: number;
}

/** Storage that kernels write, that hosts write and that can be copied and read back. */
export const STORAGE_USAGE = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC |
  GPUBufferUsage.COPY_DST;

/**
 * Create buffers. WebGPU gives a buffer that does not work where there is no room, and says so to
 * nobody; here it throws, and what was created before is destroyed.
 *
 * @param gpu The device.
 * @param requests What is wanted. A storage buffer may be larger than one binding: see
 *   `planBindings()`.
 * @returns One buffer a request; the caller destroys them.
 * @throws {RangeError} A size is none, or more than a buffer of this device may have.
 * @throws {GpuMemoryError} The device has no room.
 * @throws {GpuLostError} The device has gone.
 */
export async function allocateBuffers(
  gpu: GpuDevice,
  requests: readonly BufferRequest[],
): Promise<GPUBuffer[]> {
  for (const request of requests) checkRequest(gpu, request);
  gpu.check();
  const { device } = gpu;
  const buffers: GPUBuffer[] = [];
  const problems: Promise<GPUError | null>[] = [];
  for (const { label, bytes: size, usage } of requests) {
    // The stack of scopes is the device's: nothing may come between push and pop.
    device.pushErrorScope("validation");
    device.pushErrorScope("out-of-memory");
    buffers.push(device.createBuffer({ label, size, usage }));
    const noRoom = device.popErrorScope();
    const invalid = device.popErrorScope();
    problems.push(noRoom.then(async (error) => error ?? await invalid));
  }
  const found = await Promise.all(problems);
  const first = found.findIndex((problem) => problem !== null);
  if (first < 0) return buffers;
  for (const buffer of buffers) buffer.destroy();
  gpu.check();
  const { label, bytes } = requests[first];
  const total = requests.reduce((sum, request) => sum + request.bytes, 0);
  throw new GpuMemoryError(
    `Cannot allocate ${mebibytes(bytes)} for ${label} (${mebibytes(total)} in all) on ` +
      `${gpu.info.name}: ${found[first]!.message}; close other programs that use the GPU, or use ` +
      "a smaller policy or fewer bits a weight",
    { cause: found[first] },
  );
}

function checkRequest(gpu: GpuDevice, { label, bytes }: BufferRequest): void {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % 4 !== 0) {
    throw new RangeError(
      `Cannot allocate ${bytes} bytes for ${label}: expected a multiple of 4 above 0`,
    );
  }
  const { maxBufferBytes } = gpu.limits;
  if (bytes <= maxBufferBytes) return;
  throw new RangeError(
    `Cannot allocate ${
      mebibytes(bytes)
    } for ${label}: a buffer of ${gpu.info.name} takes at most ` +
      `${mebibytes(maxBufferBytes)}; split it over several`,
  );
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

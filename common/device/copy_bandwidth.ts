/**
 * How fast a device moves memory: what the bytes a second of a kernel are compared with.
 * @module
 */

import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import type { GpuDevice } from "./gpu_device.ts";
import readAllSource from "./kernels/read_all.wgsl" with { type: "text" };
import { timeGpu, type TimeGpuOptions } from "./time_gpu.ts";

/** Measured rates, in 1e9 bytes a second. */
export interface Bandwidth {
  /** Size of the buffers. */
  readonly bytes: number;
  /** A copy from buffer to buffer, with the bytes read and those written counted. */
  readonly copyGBps: number;
  /** A kernel that reads a buffer and writes almost nothing, as decoding reads its weights. */
  readonly readGBps: number;
  /** Which clock measured the copy and the kernel. */
  readonly clock: { readonly copy: "gpu" | "wall"; readonly read: "gpu" | "wall" };
}

/** Larger than any cache on a GPU: an H100's is 50 MiB, an MI300's 256 MiB. */
export const DEFAULT_BANDWIDTH_BYTES = 2 ** 29;

/** Workgroups of the reading kernel: with 256 threads each, more than any GPU runs at once. */
const READ_GROUPS = 2048;
const READ_THREADS = 256 * READ_GROUPS;

/**
 * Measure a copy and a read of one buffer.
 *
 * @param gpu The device.
 * @param bytes Size of the buffer, a multiple of 16; cut to one binding of the device. What fits a
 *   cache measures the cache.
 * @param options How long to measure.
 * @returns The rates.
 * @throws {RangeError} The size is no multiple of 16 above 0.
 * @throws {GpuMemoryError} There is no room for two such buffers.
 */
export async function copyBandwidth(
  gpu: GpuDevice,
  bytes: number = DEFAULT_BANDWIDTH_BYTES,
  options: TimeGpuOptions = {},
): Promise<Bandwidth> {
  if (!Number.isSafeInteger(bytes) || bytes <= 0 || bytes % 16 !== 0) {
    throw new RangeError(
      `Cannot measure the bandwidth with ${bytes} bytes: expected a multiple of 16 above 0`,
    );
  }
  const { device, limits } = gpu;
  const size = Math.min(bytes, limits.maxBindingBytes);
  const [from, to, folded] = await allocateBuffers(gpu, [
    { label: "the source of a copy", bytes: size, usage: STORAGE_USAGE },
    { label: "the target of a copy", bytes: size, usage: STORAGE_USAGE },
    { label: "the words of a reading kernel", bytes: 4 * READ_THREADS, usage: STORAGE_USAGE },
  ]);
  try {
    const copy = await timeGpu(
      gpu,
      (encoder) => encoder.copyBufferToBuffer(from, 0, to, 0, size),
      options,
    );
    const read = await timeGpu(gpu, recordReads(device, from, folded), options);
    const rate = (moved: number, ms: number) => moved / ms / 1e6;
    return {
      bytes: size,
      copyGBps: rate(2 * size, copy.ms),
      readGBps: rate(size, read.ms),
      clock: { copy: copy.clock, read: read.clock },
    };
  } finally {
    for (const buffer of [from, to, folded]) buffer.destroy();
  }
}

/**
 * Prepare a kernel that reads a whole buffer.
 *
 * @param source Read as 16-byte words.
 * @param folded Gets one 32-bit word a thread: the XOR of all of them is the XOR of the source.
 * @returns Records one run.
 */
export function recordReads(
  device: GPUDevice,
  source: GPUBuffer,
  folded: GPUBuffer,
): (encoder: GPUCommandEncoder) => void {
  const module = device.createShaderModule({ code: readAllSource });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [source, folded].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return (encoder) => {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(READ_GROUPS);
    pass.end();
  };
}

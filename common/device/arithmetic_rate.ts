/**
 * How fast a device multiplies and adds in float32: what the FLOPs a second of a kernel are compared
 * with. It is what its ordinary arithmetic units give: WebGPU in Deno offers no tensor cores.
 *
 * @module
 */

import { allocateBuffers, STORAGE_USAGE } from "./allocate_buffers.ts";
import type { GpuDevice } from "./gpu_device.ts";
import multiplyAddSource from "./kernels/multiply_add.wgsl" with { type: "text" };
import { timeGpu, type TimeGpuOptions } from "./time_gpu.ts";

/** A measured rate. */
export interface ArithmeticRate {
  /** 1e12 floating-point operations a second; a multiply-add counts as two. */
  readonly teraflops: number;
  /** Which clock measured it. */
  readonly clock: "gpu" | "wall";
}

/** Workgroups of 256 threads, more than any GPU runs at once. */
const GROUPS = 1024;
const THREADS = 256 * GROUPS;
/** Multiply-adds of a thread a round: eight chains of four lanes. */
const STEPS_PER_ROUND = 32;
/** Rounds of one run: long enough that starting a thread does not count. */
const ROUNDS = 512;

/**
 * Measure it.
 *
 * @param gpu The device.
 * @param options How long to measure.
 * @returns The rate.
 * @throws {GpuMemoryError} If there is no room for 4 MiB.
 * @throws {Error} If the device refuses a command, or is lost.
 */
export async function arithmeticRate(
  gpu: GpuDevice,
  options: TimeGpuOptions = {},
): Promise<ArithmeticRate> {
  const [work, results] = await allocateBuffers(gpu, [
    {
      label: "the rounds of a multiplying kernel",
      bytes: 16,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    },
    { label: "the results of a multiplying kernel", bytes: 16 * THREADS, usage: STORAGE_USAGE },
  ]);
  try {
    gpu.device.queue.writeBuffer(work, 0, Uint32Array.of(ROUNDS, 0, 0, 0));
    const { ms, clock } = await timeGpu(
      gpu,
      recordMultiplyAdds(gpu.device, work, results, GROUPS),
      options,
    );
    const flops = 2 * STEPS_PER_ROUND * ROUNDS * THREADS;
    return { teraflops: flops / ms / 1e9, clock };
  } finally {
    for (const buffer of [work, results]) buffer.destroy();
  }
}

/**
 * Prepare a kernel that does little but multiply and add.
 *
 * @param work Uniform: the number of rounds.
 * @param results Gets four numbers a thread, `256 · groups` threads.
 * @param groups Workgroups.
 * @returns Records one run.
 */
export function recordMultiplyAdds(
  device: GPUDevice,
  work: GPUBuffer,
  results: GPUBuffer,
  groups: number,
): (encoder: GPUCommandEncoder) => void {
  const module = device.createShaderModule({ code: multiplyAddSource });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const bindGroup = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [work, results].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return (encoder) => {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(groups);
    pass.end();
  };
}

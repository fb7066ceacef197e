/**
 * How the time of a chunk falls apart, by the GPU's own clock.
 *
 * The host cannot tell: it only submits, and waiting between two phases would cost 11 ms each in Deno.
 * So timestamps are written between submissions and read back once behind the last. What a tick is worth
 * differs between drivers, and Deno hands ticks on as they are: only their shares are used.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";

/** 8 bytes a timestamp. */
const STAMP_BYTES = 8;

/** Writes timestamps between submissions. Owner of its buffers. */
export class PhaseClock implements Disposable {
  readonly #device: GPUDevice;
  readonly #stamps: number;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #readback: GPUBuffer;

  private constructor(device: GPUDevice, phases: number) {
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    this.#device = device;
    this.#stamps = phases + 1;
    const size = STAMP_BYTES * this.#stamps;
    this.#queries = device.createQuerySet({ type: "timestamp", count: this.#stamps });
    this.#resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    this.#readback = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  }

  /**
   * Make a clock.
   *
   * @param gpu The device.
   * @param phases How many phases it tells apart, at least 1.
   * @returns The clock; null if the device has none.
   */
  static open(gpu: GpuDevice, phases: number): PhaseClock | null {
    return gpu.features.hasTimestamps ? new PhaseClock(gpu.device, phases) : null;
  }

  /**
   * Write a timestamp behind everything that was submitted.
   *
   * @param stamp 0 before the first phase, then 1 behind it, and so on.
   */
  mark(stamp: number): void {
    const timestampWrites = { querySet: this.#queries, beginningOfPassWriteIndex: stamp };
    const encoder = this.#device.createCommandEncoder();
    encoder.beginComputePass({ timestampWrites }).end();
    this.#device.queue.submit([encoder.finish()]);
  }

  /**
   * Read all timestamps, once each has been written.
   *
   * @returns The phases' shares of the time from the first to the last, which add up to 1; null if the
   *   clock stood still or ran backwards.
   */
  async shares(): Promise<number[] | null> {
    const encoder = this.#device.createCommandEncoder();
    encoder.resolveQuerySet(this.#queries, 0, this.#stamps, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readback, 0, this.#readback.size);
    this.#device.queue.submit([encoder.finish()]);
    await this.#readback.mapAsync(GPUMapMode.READ);
    const stamps = [...new BigUint64Array(this.#readback.getMappedRange())];
    this.#readback.unmap();
    return phaseShares(stamps);
  }

  /** Free its buffers. */
  [Symbol.dispose](): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    this.#readback.destroy();
  }
}

/**
 * Shares of the time between timestamps.
 *
 * @param stamps At least two, oldest first.
 * @returns One share a phase; null if the clock stood still or ran backwards.
 */
export function phaseShares(stamps: readonly bigint[]): number[] | null {
  const ticks = stamps.slice(1).map((stamp, i) => Number(stamp - stamps[i]));
  const total = ticks.reduce((sum, phase) => sum + phase, 0);
  if (total <= 0 || ticks.some((phase) => phase < 0)) return null;
  return ticks.map((phase) => phase / total);
}

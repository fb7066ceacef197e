/**
 * How long work on the GPU takes.
 *
 * By the GPU's own clock where it has one: timestamps before and after, in the same submission. Else by
 * the wall clock around submission and readback, less the same around nothing: a readback alone takes
 * about 11 ms in Deno, whose runtime looks for it every 10 ms.
 *
 * @module
 */

import type { GpuDevice } from "./gpu_device.ts";

/** A measured time. */
export interface GpuTime {
  /** Milliseconds of one run, the median over repetitions. */
  readonly ms: number;
  /** Which clock it was: the GPU's or the wall's. */
  readonly clock: "gpu" | "wall";
  /** Runs in a row of each repetition. */
  readonly runs: number;
}

/** How {@link timeGpu} measures. */
export interface TimeGpuOptions {
  /** Repetitions, of which the median counts; 5 unless told. */
  readonly repeats?: number;
  /** Runs are put in a row until they take so long, in ms; 40 unless told, four times the polling. */
  readonly minMs?: number;
  /** Most runs in a row; 4096 unless told. */
  readonly maxRuns?: number;
  /** `wall` does without the GPU's clock. */
  readonly clock?: "gpu" | "wall";
}

/** One look at both clocks. */
interface Sample {
  readonly wallMs: number;
  /** 0 without timestamps. */
  readonly gpuMs: number;
}

/** Two timestamps of 8 bytes. */
const QUERY_BYTES = 16;
/** What takes less cannot be told from nothing by the wall clock. */
const RESOLUTION_MS = 1e-3;
/** WebGPU's timestamps are in nanoseconds. */
const NS_PER_MS = 1e6;

/**
 * Measure some work.
 *
 * @param gpu Where.
 * @param record Writes one run into an encoder: whole passes, or copies. Called many times.
 * @returns Its time. Runs that can overlap may: it is throughput that is measured.
 * @throws {Error} The device refused a command, or is lost; see {@link GpuDevice.check}.
 */
export async function timeGpu(
  gpu: GpuDevice,
  record: (encoder: GPUCommandEncoder) => void,
  options: TimeGpuOptions = {},
): Promise<GpuTime> {
  const { repeats = 5, minMs = 40, maxRuns = 4096, clock = "gpu" } = options;
  using stopwatch = new Stopwatch(gpu, clock === "gpu" && gpu.features.hasTimestamps);
  await stopwatch.measure(record, 1); // Whatever is done once only, such as compiling.
  const idleMs = median(await repeat(3, () => stopwatch.measure(record, 0)).then(wallMsOf));
  let runs = 1;
  for (;;) {
    const tookMs = (await stopwatch.measure(record, runs)).wallMs - idleMs;
    if (tookMs >= minMs || runs >= maxRuns) break;
    // At most eightfold at once: the first runs may be too short to tell.
    runs = Math.min(maxRuns, Math.ceil(runs * Math.min(8, Math.max(2, 1.2 * minMs / tookMs))));
  }
  const samples = await repeat(repeats, () => stopwatch.measure(record, runs));
  const wallMs = Math.max(RESOLUTION_MS, median(wallMsOf(samples)) - idleMs);
  const gpuMs = median(samples.map((sample) => sample.gpuMs));
  // Deno hands on the driver's ticks, which are no nanoseconds everywhere: a clock that is far from
  // the wall's is not believed.
  const isGpuClock = gpuMs > wallMs / 2 && gpuMs < 2 * (wallMs + idleMs);
  return { ms: (isGpuClock ? gpuMs : wallMs) / runs, clock: isGpuClock ? "gpu" : "wall", runs };
}

/** Submits work between two timestamps and waits for it. Owner of its buffers. */
class Stopwatch implements Disposable {
  readonly #gpu: GpuDevice;
  readonly #queries: GPUQuerySet | null;
  readonly #resolved: GPUBuffer;
  readonly #readback: GPUBuffer;

  constructor(gpu: GpuDevice, hasTimestamps: boolean) {
    const { device } = gpu;
    this.#gpu = gpu;
    this.#queries = hasTimestamps ? device.createQuerySet({ type: "timestamp", count: 2 }) : null;
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const size = QUERY_BYTES;
    this.#resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    this.#readback = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  }

  async measure(record: (encoder: GPUCommandEncoder) => void, runs: number): Promise<Sample> {
    const { device } = this.#gpu;
    const encoder = device.createCommandEncoder();
    this.#mark(encoder, 0);
    for (let run = 0; run < runs; run++) record(encoder);
    this.#mark(encoder, 1);
    if (this.#queries) encoder.resolveQuerySet(this.#queries, 0, 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readback, 0, QUERY_BYTES);
    const commands = encoder.finish();
    const start = performance.now();
    device.queue.submit([commands]);
    await this.#readback.mapAsync(GPUMapMode.READ);
    const wallMs = performance.now() - start;
    const [before, after] = new BigUint64Array(this.#readback.getMappedRange());
    this.#readback.unmap();
    this.#gpu.check();
    return { wallMs, gpuMs: Number(after - before) / NS_PER_MS };
  }

  /** Write a timestamp: an empty pass has one, and comes after whatever was recorded before. */
  #mark(encoder: GPUCommandEncoder, index: number): void {
    if (this.#queries === null) return;
    const timestampWrites = { querySet: this.#queries, beginningOfPassWriteIndex: index };
    encoder.beginComputePass({ timestampWrites }).end();
  }

  [Symbol.dispose](): void {
    this.#queries?.destroy();
    this.#resolved.destroy();
    this.#readback.destroy();
  }
}

async function repeat<T>(times: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let i = 0; i < times; i++) results.push(await work());
  return results;
}

const wallMsOf = (samples: readonly Sample[]) => samples.map(({ wallMs }) => wallMs);

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/**
 * How fast an engine is, and how near to what its memory allows.
 *
 * Waiting for a GPU takes Deno about 11 ms whatever was computed, so every time is a difference: much
 * work minus little work, divided by what lies between.
 *
 * @module
 */

import { copyBandwidth } from "../device/copy_bandwidth.ts";
import type { GpuDevice } from "../device/gpu_device.ts";
import type { HostTensor } from "../types.ts";
import type { DecodeEngine } from "./decode_engine.ts";
import { adapterShapes } from "./engine_adapters.ts";
import { criticShapes } from "./engine_critic.ts";
import { capacityOf, type EngineModel } from "./engine_model.ts";
import type { EnginePrefix } from "./engine_prefix.ts";

/** What {@link benchEngine} measures. */
export interface EngineBench {
  /** One prefill, medians as everywhere. */
  readonly prefillMs: number;
  /** One decode step behind that prefix. */
  readonly tokenMs: number;
  /** Upload of all adapters and the critic, until the GPU has them. */
  readonly updateMs: number;
  /** Bytes of such an upload. */
  readonly updateBytes: number;
  /** Kernels of a decode step. */
  readonly dispatchesPerToken: number;
  /** Bytes that a decode step reads: weights and cache. */
  readonly bytesPerToken: number;
  /** {@link bytesPerToken} by {@link tokenMs}, in 10⁹ bytes a second. */
  readonly gigabytesPerSecond: number;
  /** What a copy from buffer to buffer reaches, bytes read and written, in 10⁹ bytes a second. */
  readonly copyGigabytesPerSecond: number;
  /** GPU memory of the engine, in bytes. */
  readonly gpuBytes: number;
}

/** Steps, prefills and updates of a short and a long measurement. */
const STEPS = [4, 20] as const;
const PREFILLS = [1, 3] as const;
const UPDATES = [1, 3] as const;
/** Size of the copied buffer, larger than the caches of GPUs. */
const COPY_BYTES = 1 << 27;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** Median milliseconds of one unit of work, from differences between two amounts of it. */
async function perUnit(
  [few, many]: readonly [number, number],
  repeats: number,
  work: (count: number) => Promise<void>,
): Promise<number> {
  const times: number[] = [];
  await work(few); // the first run compiles what drivers compile late
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await work(few);
    const between = performance.now();
    await work(many);
    times.push((performance.now() - between - (between - start)) / (many - few));
  }
  return Math.max(median(times), 1e-6);
}

/** Not zero, whose pages an operating system need not keep; so small that it hardly acts. */
const SMALL = 1e-3;

/**
 * What a learner that trains adapters and critic sends.
 *
 * @param model Sizes.
 * @returns All of their arrays, full of a small number.
 */
export function smallUpdate(model: EngineModel): HostTensor[] {
  return [...adapterShapes(model.gemma), ...criticShapes(model)].map(([name, shape]) => {
    const count = shape.reduce((a, b) => a * b, 1);
    return { name, shape, data: new Float32Array(count).fill(SMALL) };
  });
}

/**
 * Measure an engine.
 *
 * @param gpu Its device.
 * @param engine The engine.
 * @param shown What it is shown; each prefill is computed.
 * @param repeats Measurements behind each median.
 * @param update What is uploaded to time an update, which the engine then has: small numbers by
 *   default.
 * @throws {Error} As the engine does.
 */
export async function benchEngine(
  gpu: GpuDevice,
  engine: DecodeEngine,
  shown: EnginePrefix,
  repeats: number,
  update: readonly HostTensor[] = smallUpdate(engine.model),
): Promise<EngineBench> {
  const prefix = { ...shown, imagesVersion: undefined };
  const prefillMs = await perUnit(PREFILLS, repeats, async (count) => {
    for (let i = 0; i < count; i++) engine.prefill(prefix);
    await gpu.device.queue.onSubmittedWorkDone();
  });
  const tokenMs = await perUnit(STEPS, repeats, async (count) => {
    engine.prefill(prefix);
    await gpu.device.queue.onSubmittedWorkDone();
    await engine.repeatStep(count);
  });
  const updateMs = await perUnit(UPDATES, repeats, async (count) => {
    for (let i = 0; i < count; i++) engine.updateWeights(update);
    await gpu.device.queue.onSubmittedWorkDone();
  });
  const { gemma: { depth, headDim }, imageTokens } = engine.model;
  const places = imageTokens + (prefix.promptPlaces ?? prefix.prompt.length) + prefix.forced.length;
  const bytesPerToken = engine.weightBytesPerToken +
    depth * 2 * 4 * headDim * Math.min(places, capacityOf(engine.model));
  return {
    prefillMs,
    tokenMs,
    updateMs,
    updateBytes: update.reduce((sum, { data }) => sum + data.byteLength, 0),
    dispatchesPerToken: engine.dispatchesPerToken,
    bytesPerToken,
    gigabytesPerSecond: bytesPerToken / tokenMs / 1e6,
    copyGigabytesPerSecond: (await copyBandwidth(gpu, COPY_BYTES)).copyGBps,
    gpuBytes: engine.gpuBytes,
  };
}

/**
 * Put measurements into lines for people.
 *
 * @param bench What was measured.
 * @param gpu Where.
 */
export function benchLines(bench: EngineBench, { info }: GpuDevice): string[] {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    `device            ${info.name}`,
    `prefill           ${bench.prefillMs.toFixed(2)} ms`,
    `decode            ${bench.tokenMs.toFixed(3)} ms a token, ` +
    `${bench.dispatchesPerToken} dispatches`,
    `update            ${bench.updateMs.toFixed(2)} ms, ${megabytes(bench.updateBytes)}`,
    `bytes             ${megabytes(bench.bytesPerToken)} a token`,
    `bandwidth         ${bench.gigabytesPerSecond.toFixed(2)} GB/s, ` +
    `a copy ${bench.copyGigabytesPerSecond.toFixed(2)} GB/s`,
    `memory            ${megabytes(bench.gpuBytes)}`,
  ];
}

/**
 * How fast an image encoder is.
 *
 * @module
 */

import type { GpuDevice } from "../device/gpu_device.ts";
import type { RgbImage } from "../types.ts";
import type { VisionEncoder } from "./vision_encoder.ts";
import { visionFlops } from "./vision_model.ts";

/** What {@link benchVision} measures. */
export interface VisionBench {
  /** One changed picture, from bytes on the host to tokens on the GPU; medians as everywhere. */
  readonly oneCameraMs: number;
  /** All pictures changed. */
  readonly allCamerasMs: number;
  /** None changed: what looking at them takes on the host. */
  readonly unchangedMs: number;
  /** Multiplications and additions of one picture. */
  readonly flopsPerPicture: number;
  /** 10¹² of them a second, with one changed picture. */
  readonly oneCameraTeraflops: number;
  /** The same with all. */
  readonly allCamerasTeraflops: number;
  /** Kernels of a call. */
  readonly dispatches: number;
  /** Bytes of weights that a call reads. */
  readonly weightBytes: number;
  /** GPU memory of the encoder, in bytes. */
  readonly gpuBytes: number;
}

/** Calls of a short and a long measurement. */
const CALLS = [1, 4] as const;
/** Calls of a measurement that only looks at pictures. */
const LOOKS = 64;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** A picture of noise, the same each time. */
function makePicture(size: number): RgbImage {
  // 31-bit steps of a full-period generator (Park and Miller, 1988): only the bytes' variety counts.
  let state = 1;
  const data = Uint8Array.from({ length: size * size * 3 }, () => {
    state = state * 48271 % 0x7fffffff;
    return state & 255;
  });
  return { width: size, height: size, data };
}

/**
 * Measure an image encoder.
 *
 * Waiting for a GPU takes Deno about 11 ms whatever was computed, so every time is a difference: several
 * calls less one, divided by what lies between.
 *
 * @param gpu Its device.
 * @param encoder The encoder; its tokens are of made-up pictures then.
 * @param repeats Measurements behind each median.
 * @throws {GpuLostError} If the device goes.
 * @throws {Error} If the device refuses a command.
 */
export async function benchVision(
  gpu: GpuDevice,
  encoder: VisionEncoder,
  repeats: number,
): Promise<VisionBench> {
  const { model } = encoder;
  const images = Array.from({ length: model.cameras }, () => makePicture(model.siglip.imageSize));
  const timed = async (calls: number, changed: number) => {
    const start = performance.now();
    for (let call = 0; call < calls; call++) {
      for (const { data } of images.slice(0, changed)) data[0] ^= 1;
      encoder.encode(images);
    }
    await gpu.device.queue.onSubmittedWorkDone();
    return performance.now() - start;
  };
  const perCall = async (changed: number) => {
    const [few, many] = CALLS;
    await timed(few, changed); // the first run compiles what drivers compile late
    const times: number[] = [];
    for (let i = 0; i < repeats; i++) {
      const short = await timed(few, changed);
      times.push((await timed(many, changed) - short) / (many - few));
    }
    return Math.max(median(times), 1e-6);
  };
  const allCamerasMs = await perCall(model.cameras);
  const oneCameraMs = await perCall(1);
  const looks: number[] = [];
  for (let i = 0; i < LOOKS; i++) {
    const start = performance.now();
    encoder.encode(images);
    looks.push(performance.now() - start);
  }
  gpu.check();
  const teraflops = (pictures: number, ms: number) => visionFlops(model, pictures) / ms / 1e9;
  return {
    oneCameraMs,
    allCamerasMs,
    unchangedMs: median(looks),
    flopsPerPicture: visionFlops(model, 1),
    oneCameraTeraflops: teraflops(1, oneCameraMs),
    allCamerasTeraflops: teraflops(model.cameras, allCamerasMs),
    dispatches: encoder.dispatches,
    weightBytes: encoder.weightBytes,
    gpuBytes: encoder.gpuBytes,
  };
}

/**
 * Put measurements into lines for people.
 *
 * @param bench What was measured.
 */
export function visionLines(bench: VisionBench): string[] {
  const rate = (teraflops: number) => `${teraflops.toPrecision(3)} TFLOP/s`;
  return [
    `one camera        ${bench.oneCameraMs.toFixed(2)} ms, ${rate(bench.oneCameraTeraflops)}`,
    `all cameras       ${bench.allCamerasMs.toFixed(2)} ms, ${rate(bench.allCamerasTeraflops)}`,
    `unchanged         ${bench.unchangedMs.toFixed(3)} ms`,
    `operations        ${(bench.flopsPerPicture / 1e9).toPrecision(3)} GFLOP a picture, ` +
    `${bench.dispatches} dispatches`,
    `memory            ${(bench.gpuBytes / 1e6).toFixed(1)} MB, ` +
    `weights ${(bench.weightBytes / 1e6).toFixed(1)} MB`,
  ];
}

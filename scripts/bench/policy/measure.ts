/**
 * Times the parts of a chunk on the decode engine, and whole chunks as a robot asks for them.
 * @module
 */

import { arithmeticRate } from "../../../common/device/arithmetic_rate.ts";
import { copyBandwidth, DEFAULT_BANDWIDTH_BYTES } from "../../../common/device/copy_bandwidth.ts";
import type { GpuDevice } from "../../../common/device/gpu_device.ts";
import { benchEngine } from "../../../common/engine/bench.ts";
import { benchVision } from "../../../common/engine/bench_vision.ts";
import type { RandomSource } from "../../../common/random.ts";
import { CAMERA_NAMES, type RgbImage } from "../../../common/types.ts";
import { median, percentile } from "../../statistics.ts";
import type { LoadedEngines } from "./bench_model.ts";

/** What a chunk takes. */
export interface PolicyTimes {
  /** All pictures through the image encoder, ms. */
  readonly visionMs: number;
  /** The prefix through the language model, ms. */
  readonly prefillMs: number;
  /** One decoded token, ms. */
  readonly tokenMs: number;
  /** Whole chunks, from pictures on the host to tokens and value on the host, ms. */
  readonly chunkMs: { readonly p50: number; readonly p90: number };
  /** Action tokens of those chunks, median. */
  readonly chunkTokens: number;
  /** A chunk of the same observation, whose prefix is still there, ms. */
  readonly repeatedChunkMs: number;
  /** Upload of new adapters and a new critic, ms. */
  readonly updateMs: number;
  /** Bytes of such an upload. */
  readonly updateBytes: number;
  /** Kernels of a decoded token. */
  readonly dispatchesPerToken: number;
  /** Weights and cache that a decoded token reads. */
  readonly bytesPerToken: number;
  /** {@link bytesPerToken} by {@link tokenMs}, 10⁹ bytes a second. */
  readonly gigabytesPerSecond: number;
  /** GPU memory: weights and working memory. */
  readonly gpuBytes: number;
}

/** What the device can do. */
export interface MeasuredRates {
  /** A copy from buffer to buffer, bytes read and written, 10⁹ a second. */
  readonly copyGigabytesPerSecond: number;
  /** A kernel that only reads, 10⁹ bytes a second. */
  readonly readGigabytesPerSecond: number;
  /** A kernel that only multiplies and adds in float32, 10¹² operations a second. */
  readonly teraflops: number;
}

/** Software renderers have a processor's caches, and take long. */
const SOFTWARE_BYTES = 2 ** 26;

/**
 * Measure what the device can do.
 * @param gpu The device.
 * @param repeats Timings behind each median, at most five.
 */
export async function measureRates(gpu: GpuDevice, repeats: number): Promise<MeasuredRates> {
  const bytes = gpu.info.isSoftware ? SOFTWARE_BYTES : DEFAULT_BANDWIDTH_BYTES;
  const options = { repeats: Math.min(5, repeats) };
  const { copyGBps, readGBps } = await copyBandwidth(gpu, bytes, options);
  const { teraflops } = await arithmeticRate(gpu, options);
  return { copyGigabytesPerSecond: copyGBps, readGigabytesPerSecond: readGBps, teraflops };
}

/** What {@link measurePolicy} measures with. */
export interface MeasuredPolicy {
  /** The device. */
  readonly gpu: GpuDevice;
  /** The policy. */
  readonly engines: LoadedEngines;
  /** Timings behind each median. */
  readonly repeats: number;
  /** Where noise on the pictures and draws come from. */
  readonly random: RandomSource;
  /** Told what is measured next. */
  readonly onPart: (name: string) => void;
  /** Ends the measurement by throwing its reason. */
  readonly signal: AbortSignal;
}

/** Measure all parts. */
export async function measurePolicy(measured: MeasuredPolicy): Promise<PolicyTimes> {
  const { gpu, engines: { vision, engine, bench }, repeats, onPart, signal } = measured;
  const { prompt, forced } = bench;
  const step = (name: string) => {
    signal.throwIfAborted();
    onPart(name);
  };
  step("the image encoder");
  const seen = await benchVision(gpu, vision, repeats);
  step("the prefill and decoded tokens");
  const { tokens: imageTokens } = vision.encode(noisyPictures(measured));
  const language = await benchEngine(gpu, engine, { imageTokens, prompt, forced }, repeats);
  step("whole chunks");
  const chunks = await timeChunks(measured);
  return {
    visionMs: seen.allCamerasMs,
    prefillMs: language.prefillMs,
    tokenMs: language.tokenMs,
    ...chunks,
    updateMs: language.updateMs,
    updateBytes: language.updateBytes,
    dispatchesPerToken: language.dispatchesPerToken,
    bytesPerToken: language.bytesPerToken,
    gigabytesPerSecond: language.gigabytesPerSecond,
    gpuBytes: vision.gpuBytes + engine.gpuBytes,
  };
}

/** Chunks of new observations, and of the same one again. */
async function timeChunks(
  measured: MeasuredPolicy,
): Promise<Pick<PolicyTimes, "chunkMs" | "chunkTokens" | "repeatedChunkMs">> {
  const { engines: { vision, engine, bench }, repeats, random, signal } = measured;
  const { prompt, forced, maxTokens } = bench;
  const chunk = async (pictures: readonly RgbImage[]) => {
    signal.throwIfAborted();
    const start = performance.now();
    const { tokens: imageTokens, version: imagesVersion } = vision.encode(pictures);
    engine.prefill({ imageTokens, imagesVersion, prompt, forced });
    const { tokens } = await engine.sample({ temperature: 1, random, maxTokens });
    return { ms: performance.now() - start, tokens: tokens.length };
  };
  const fresh = [], again = [];
  await chunk(noisyPictures(measured)); // whatever is done once only
  for (let i = 0; i < repeats; i++) {
    const pictures = noisyPictures(measured);
    fresh.push(await chunk(pictures));
    again.push(await chunk(pictures));
  }
  const times = fresh.map(({ ms }) => ms);
  return {
    chunkMs: { p50: median(times), p90: percentile(times, 0.9) },
    chunkTokens: median(fresh.map(({ tokens }) => tokens)),
    repeatedChunkMs: median(again.map(({ ms }) => ms)),
  };
}

/** A picture of noise a camera, none like one before. */
function noisyPictures({ engines: { vision }, random }: MeasuredPolicy): RgbImage[] {
  const { imageSize: side } = vision.model.siglip;
  return CAMERA_NAMES.map(() => {
    const block = Uint8Array.from({ length: 4099 }, () => 256 * random());
    const data = Uint8Array.from({ length: side * side * 3 }, (_, i) => block[i % block.length]);
    return { width: side, height: side, data };
  });
}

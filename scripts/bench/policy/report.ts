/**
 * What a measured policy comes to: beside the floor of its device, and beside what was aimed at.
 * @module
 */

import {
  type ChunkArithmetic,
  type ChunkFloor,
  chunkFloor,
} from "../../../common/engine/arithmetic.ts";
import type { Measurement } from "../measurement.ts";
import type { MeasuredRates, PolicyTimes } from "./measure.ts";

/** Share of the copy's bandwidth that decoding should reach on a discrete GPU. */
const BANDWIDTH_SHARE = 0.5;
/** A whole chunk should take at most so many times the floor there. */
const FLOOR_FACTOR = 3;
/** New adapters of rank 16 should be there after so many ms. */
const UPDATE_MS = 20;

/** Measurements with what follows from them. */
export interface PolicyReport {
  /** Shortest times that the measured rates allow. */
  readonly floor: ChunkFloor;
  /** Decoding's bytes a second by those of a copy. */
  readonly shareOfCopy: number;
  /** Whole chunks by the floor. */
  readonly timesFloor: number;
  /** For people. */
  readonly measurements: readonly Measurement[];
}

/**
 * Put measurements beside their floor.
 *
 * @param times What was measured.
 * @param rates What the device can do.
 * @param arithmetic What has to be done.
 * @param settings.loadMs Weights to the device, kernels compiled, ms.
 * @param settings.isSoftware The device is no GPU, so the goals are not its own.
 */
export function reportPolicy(
  times: PolicyTimes,
  rates: MeasuredRates,
  arithmetic: ChunkArithmetic,
  settings: { readonly loadMs: number; readonly isSoftware: boolean },
): PolicyReport {
  const floor = chunkFloor(arithmetic, {
    teraflops: rates.teraflops,
    gigabytesPerSecond: rates.readGigabytesPerSecond,
  });
  const shareOfCopy = times.gigabytesPerSecond / rates.copyGigabytesPerSecond;
  const timesFloor = times.chunkMs.p50 / floor.chunkMs;
  const atLeast = (value: number) =>
    settings.isSoftware ? undefined : { kind: "at least", value } as const;
  const atMost = (value: number) =>
    settings.isSoftware ? undefined : { kind: "at most", value } as const;
  const one = (name: string, p50: number, unit: string, goal?: Measurement["goal"]) => ({
    name,
    p50,
    unit,
    goal,
  });
  return {
    floor,
    shareOfCopy,
    timesFloor,
    measurements: [
      one("load and compile", settings.loadMs, "ms"),
      one("vision", times.visionMs, "ms"),
      one("  floor", floor.visionMs, "ms"),
      one("prefill", times.prefillMs, "ms"),
      one("  floor", floor.prefillMs, "ms"),
      one("one decoded token", times.tokenMs, "ms"),
      one("  floor", floor.tokenMs, "ms"),
      one("  bytes read", times.bytesPerToken / 1e6, "MB"),
      one("  bandwidth", times.gigabytesPerSecond, "GB/s"),
      one("  share of a copy's", 100 * shareOfCopy, "%", atLeast(100 * BANDWIDTH_SHARE)),
      one("  dispatches", times.dispatchesPerToken, "kernels"),
      { ...one("whole chunk", times.chunkMs.p50, "ms"), p90: times.chunkMs.p90 },
      one("  tokens", times.chunkTokens, "tokens"),
      one("  floor", floor.chunkMs, "ms"),
      one("  times the floor", timesFloor, "×", atMost(FLOOR_FACTOR)),
      one("another chunk of the same observation", times.repeatedChunkMs, "ms"),
      one("new adapters and critic", times.updateMs, "ms", atMost(UPDATE_MS)),
      one("  bytes", times.updateBytes / 1e6, "MB"),
      one("GPU memory", times.gpuBytes / 1e6, "MB"),
      one("device: copy", rates.copyGigabytesPerSecond, "GB/s"),
      one("device: read", rates.readGigabytesPerSecond, "GB/s"),
      one("device: float32", rates.teraflops, "TFLOP/s"),
    ],
  };
}

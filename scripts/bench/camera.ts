/**
 * What four cameras cost.
 * @module
 */

import { benchCameras } from "../../controller/camera/bench.ts";
import type { BenchContext } from "./context.ts";
import type { Measurement } from "./measurement.ts";

/** Four cameras of 640×480 at 30 Hz, in cores: ffmpeg and reading together. */
const GOAL_CORES = 1;
/** ALOHA's cameras and rate. */
const CAMERAS = 4;
const RATE_HZ = 30;

/** Read four of ffmpeg's test sources for some seconds; nothing where there is no ffmpeg or no Linux. */
export async function benchCamera({ signal }: BenchContext): Promise<Measurement[]> {
  if (Deno.build.os !== "linux" || !(await hasFfmpeg())) return [];
  signal.throwIfAborted();
  const bench = await benchCameras({ cameras: CAMERAS, rateHz: RATE_HZ });
  return [
    {
      name: "four cameras of 640×480 at 30 Hz",
      unit: "cores",
      p50: bench.ffmpegShare + bench.ownShare,
      goal: { kind: "at most", value: GOAL_CORES },
    },
    { name: "  pictures a second, all four", unit: "1/s", p50: bench.framesPerSecond },
    { name: "  one picture to 224×224", unit: "ms", p50: bench.resizeMs },
  ];
}

async function hasFfmpeg(): Promise<boolean> {
  try {
    const args = ["-version"];
    await new Deno.Command("ffmpeg", { args, stdout: "null", stderr: "null" }).output();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

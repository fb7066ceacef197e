/**
 * What the tests of the cameras share: ffmpeg's own sources as cameras.
 *
 * @module
 */

import type { CameraName } from "../../common/types.ts";
import { type CameraConfig, parseCameraConfig } from "./camera_config.ts";

/** Why tests with real pictures are left out; null where ffmpeg is installed. */
export const NO_FFMPEG: string | null = await findFfmpeg();

async function findFfmpeg(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("ffmpeg", {
      args: ["-version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : "ffmpeg does not run";
  } catch {
    return "ffmpeg is not installed";
  }
}

/**
 * A test with real pictures, left out, with the reason in its name, where ffmpeg is missing.
 *
 * @param name What holds.
 * @param fn Its proof.
 */
export function ffmpegTest(name: string, fn: () => Promise<void>): void {
  const reason = NO_FFMPEG === null ? "" : ` (left out: ${NO_FFMPEG})`;
  Deno.test({ name: name + reason, ignore: NO_FFMPEG !== null, fn });
}

/**
 * A camera made of one of ffmpeg's sources, in real time.
 *
 * @param name Which camera it plays.
 * @param filter The source, such as `color=red`; size and rate are added.
 * @param settings Other settings; default 64×48 at 30 Hz.
 */
export function lavfiCamera(
  name: CameraName,
  filter: string,
  settings: Partial<Omit<CameraConfig, "name" | "source">> = {},
): CameraConfig {
  const { width = 64, height = 48, rateHz = 30 } = settings;
  const separator = filter.includes("=") ? ":" : "=";
  const input = `${filter}${separator}size=${width}x${height}:rate=${rateHz}`;
  return parseCameraConfig({
    name,
    // Loaded machines need a longer bound than a robot.
    maxAgeMs: 2_000,
    ...settings,
    width,
    height,
    rateHz,
    source: { kind: "ffmpeg", arguments: ["-re", "-f", "lavfi", "-i", input] },
  });
}

/**
 * Whether a process is there; one that was stopped goes on.
 *
 * @param pid Its id.
 */
export function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

/**
 * ffmpeg's test sources in the place of a robot's cameras.
 *
 * @module
 */

import { join } from "node:path";
import { CAMERA_NAMES } from "../../common/types.ts";

/** Size and rate of the pictures: ALOHA's size, at half of its rate to leave the cores to the rest. */
const SIZE = "640x480";
const RATE_HZ = 15;
/** A picture is stale after so many ms: three periods, and what a busy machine adds. */
const MAX_AGE_MS = 300;

/**
 * Write the settings of three test cameras.
 *
 * @param folder Where to.
 * @returns The file, for `--cameras`.
 * @throws {Error} There is no ffmpeg.
 */
export async function writeTestCameras(folder: string): Promise<string> {
  if (!await hasFfmpeg()) {
    throw new Error("This part plays its cameras with ffmpeg, which is not here: install ffmpeg");
  }
  const [width, height] = SIZE.split("x").map(Number);
  const cameras = CAMERA_NAMES.map((name) => ({
    name,
    width,
    height,
    rateHz: RATE_HZ,
    maxAgeMs: MAX_AGE_MS,
    source: {
      kind: "ffmpeg",
      arguments: ["-re", "-f", "lavfi", "-i", `testsrc=size=${SIZE}:rate=${RATE_HZ}`],
    },
  }));
  const path = join(folder, "cameras.json");
  await Deno.writeTextFile(path, JSON.stringify(cameras));
  return path;
}

async function hasFfmpeg(): Promise<boolean> {
  try {
    const command = new Deno.Command("ffmpeg", {
      args: ["-version"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    return (await command.output()).success;
  } catch {
    return false;
  }
}

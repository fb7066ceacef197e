/**
 * What reading cameras costs on this machine, with ffmpeg's own sources as cameras.
 *
 * @module
 */

import process from "node:process";
import { resizeWithPad } from "../../common/policy/image_resize.ts";
import { seededRandom } from "../../common/random.ts";
import { CAMERA_NAMES } from "../../common/types.ts";
import { Camera } from "./camera.ts";
import { parseCameraConfig } from "./camera_config.ts";
import { createFrameMemory, FrameWriter, LatestFrame } from "./latest_frame.ts";

/** Clock ticks a second in /proc, the same on every Linux (`man 7 time`, USER_HZ). */
const TICKS_PER_SECOND = 100;
/** Side of the pictures that the policy sees. */
const POLICY_SIDE = 224;

/** How much to measure. */
export interface CameraBenchOptions {
  /** Cameras; default 4, ALOHA's. */
  readonly cameras?: number;
  /** Width in pixels; default 640. */
  readonly width?: number;
  /** Height in pixels; default 480. */
  readonly height?: number;
  /** Pictures a second; default 30. */
  readonly rateHz?: number;
  /** Length in ms; default 4000. */
  readonly durationMs?: number;
  /** Input options of ffmpeg, ending in `-i` and the input; default a plain colour in real time. */
  readonly input?: readonly string[];
}

/** What {@link benchCameras} measured. Shares are of one core, user and system time together. */
export interface CameraBench {
  /** Pictures a second, all cameras together. */
  readonly framesPerSecond: number;
  /** Share taken by the ffmpegs. */
  readonly ffmpegShare: number;
  /** Share taken by this process, which does nothing else. */
  readonly ownShare: number;
  /** Median of one picture's way from the camera's size to the policy's, in ms. */
  readonly resizeMs: number;
}

/** A plain colour: close to nothing to make, so that the way of its pictures is what is measured. */
function colourInput(width: number, height: number, rateHz: number): readonly string[] {
  return ["-re", "-f", "lavfi", "-i", `color=gray:size=${width}x${height}:rate=${rateHz}`];
}

/** CPU seconds of a process. Through `cat`, as reading /proc would take every permission of Deno. */
async function cpuSeconds(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("cat", { args: [`/proc/${pid}/stat`] }).output();
  const text = new TextDecoder().decode(stdout);
  // Fields 14 and 15; the name, field 2, is in parentheses and may hold spaces.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/**
 * Read cameras for some seconds. Linux only.
 *
 * @param options How much to measure.
 * @returns Shares of a core and the rate that was kept.
 * @throws {RangeError} A setting is wrong.
 * @throws {Error} A camera gives no pictures.
 */
export async function benchCameras(options: CameraBenchOptions = {}): Promise<CameraBench> {
  const { cameras: count = 4, width = 640, height = 480, rateHz = 30, durationMs = 4_000 } =
    options;
  const config = parseCameraConfig({
    name: CAMERA_NAMES[0],
    source: { kind: "ffmpeg", arguments: options.input ?? colourInput(width, height, rateHz) },
    width,
    height,
    rateHz,
    maxAgeMs: 2_000,
  });
  const random = seededRandom(1);
  const memories = Array.from({ length: count }, () => createFrameMemory(config));
  const frames = memories.map((memory) => new LatestFrame(memory));
  await using open = new AsyncDisposableStack();
  const cameras = memories.map((memory) =>
    open.use(
      new Camera({
        config,
        writer: new FrameWriter(memory),
        random,
        now: () => performance.now(),
      }),
    )
  );
  for (const [i, latest] of frames.entries()) {
    if (await latest.waitForNext(0, 10_000)) continue;
    throw new Error(cameras[i].status().failure ?? `Cannot bench cameras: number ${i} is silent`);
  }
  const measure = async () => {
    const spent = await Promise.all(cameras.map((camera) => cpuSeconds(camera.status().pid ?? 0)));
    const { user, system } = process.cpuUsage();
    return {
      atMs: performance.now(),
      own: (user + system) / 1e6,
      ffmpeg: spent.reduce((a, b) => a + b, 0),
      frames: frames.reduce((sum, latest) => sum + latest.frames, 0),
    };
  };
  const start = await measure();
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, durationMs);
  await promise;
  const end = await measure();
  const seconds = (end.atMs - start.atMs) / 1_000;
  return {
    framesPerSecond: (end.frames - start.frames) / seconds,
    ffmpegShare: (end.ffmpeg - start.ffmpeg) / seconds,
    ownShare: (end.own - start.own) / seconds,
    resizeMs: medianResizeMs(frames[0]),
  };
}

function medianResizeMs(latest: LatestFrame): number {
  const image = latest.take()?.image;
  if (image === undefined) return NaN;
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now();
    resizeWithPad(image, POLICY_SIDE, POLICY_SIDE);
    return performance.now() - start;
  });
  times.sort((a, b) => a - b);
  return times[times.length >> 1];
}

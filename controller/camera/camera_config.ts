/**
 * What is known about one camera before it is opened: where its pictures come from, their size and
 * rate, and how old one may be before the robot must not act on it.
 *
 * @module
 */

import { z } from "zod";
import { CAMERA_NAMES, type CameraName } from "../../common/types.ts";

const MAX_SIDE = 4096;
const MAX_RATE_HZ = 240;

const sourceSchema = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("v4l2"),
    device: z.string().regex(/^\/dev\/.+/, "must be a path under /dev, such as /dev/video0"),
    pixelFormat: z.enum(["mjpeg", "yuyv422"]).default("mjpeg"),
  }),
  z.strictObject({
    kind: z.literal("ffmpeg"),
    arguments: z.array(z.string()).min(2).refine(
      (list) => list.at(-2) === "-i",
      "must end in -i and the input, such as -f lavfi -i testsrc2=size=640x480:rate=30",
    ),
  }),
]);

const cameraSchema = z.strictObject({
  name: z.enum(CAMERA_NAMES),
  source: sourceSchema,
  width: z.int().min(16).max(MAX_SIDE).default(640),
  height: z.int().min(16).max(MAX_SIDE).default(480),
  rateHz: z.int().min(1).max(MAX_RATE_HZ).default(30),
  maxAgeMs: z.number().min(1).max(10_000).default(200),
  silenceMs: z.number().min(500).max(60_000).default(5_000),
});

/** Where pictures come from. */
export type CameraSource =
  /** A Video4Linux2 device and how it sends its pictures over the USB cable. */
  | {
    readonly kind: "v4l2";
    /** Device, such as `/dev/video0` or a udev name such as `/dev/CAM_HIGH`. */
    readonly device: string;
    /** `mjpeg` takes a tenth of the cable, `yuyv422` is not compressed. */
    readonly pixelFormat: "mjpeg" | "yuyv422";
  }
  /** Anything else that ffmpeg can open, such as a test source or a file. */
  | {
    readonly kind: "ffmpeg";
    /** Input options of ffmpeg, ending in `-i` and the input. */
    readonly arguments: readonly string[];
  };

/** Settings of one camera. */
export interface CameraConfig {
  /** Which of the policy's cameras it is. */
  readonly name: CameraName;
  /** Where its pictures come from. */
  readonly source: CameraSource;
  /** Width asked of it, 16–4096 pixels; default 640. */
  readonly width: number;
  /** Height asked of it, 16–4096 pixels; default 480. */
  readonly height: number;
  /** Pictures a second asked of it, 1–240; default 30. */
  readonly rateHz: number;
  /** Age in ms past which a picture is stale, at least two periods; default 200. */
  readonly maxAgeMs: number;
  /** Silence in ms after which its ffmpeg is started anew, more than `maxAgeMs`; default 5000. */
  readonly silenceMs: number;
}

/**
 * Check the settings of one camera and fill in what they leave out.
 *
 * @param value Anything, such as a part of a settings file.
 * @returns The settings.
 * @throws {RangeError} One sentence with the field, its value and what it must be.
 */
export function parseCameraConfig(value: unknown): CameraConfig {
  const parsed = cameraSchema.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0];
    const place = path.length === 0 ? "" : `${path.join(".")} `;
    throw new RangeError(
      `Cannot use the settings of ${nameOf(value)}: ${place}${shown(value, path)}: ${message}`,
    );
  }
  const config = parsed.data;
  const refuse = (sentence: string) => {
    throw new RangeError(`Cannot use the settings of ${config.name}: ${sentence}`);
  };
  // One picture is always on its way: with less than two periods a healthy camera would be stale.
  const leastMs = 2_000 / config.rateHz;
  if (config.maxAgeMs < leastMs) {
    refuse(
      `maxAgeMs is ${config.maxAgeMs}, but at ${config.rateHz} Hz two periods take ` +
        `${leastMs.toFixed(1)} ms: raise it or rateHz`,
    );
  }
  if (config.silenceMs <= config.maxAgeMs) {
    refuse(`silenceMs is ${config.silenceMs}: it must be more than maxAgeMs, ${config.maxAgeMs}`);
  }
  return config;
}

/**
 * Check the settings of all cameras that the policy sees.
 *
 * @param values Settings, one a camera, in any order. A camera that the robot lacks is given as the
 *   `ffmpeg` source `-f lavfi -i color=black`: π0-FAST was trained with black pictures in its place.
 * @returns The settings in the order of `CAMERA_NAMES`.
 * @throws {RangeError} A setting is wrong, a camera is missing or given twice, or two share a device.
 */
export function parseCameraConfigs(values: readonly unknown[]): readonly CameraConfig[] {
  const configs = values.map(parseCameraConfig);
  for (const [i, config] of configs.entries()) {
    const earlier = configs.slice(0, i);
    if (earlier.some((other) => other.name === config.name)) {
      throw new RangeError(`Cannot use the cameras: ${config.name} is given twice`);
    }
    const other = earlier.find((other) =>
      other.source.kind === "v4l2" && config.source.kind === "v4l2" &&
      other.source.device === config.source.device
    );
    if (other !== undefined) {
      throw new RangeError(
        `Cannot use the cameras: ${other.name} and ${config.name} are both ` +
          `${describeSource(config.source)}; give each its own device`,
      );
    }
  }
  return CAMERA_NAMES.map((name) => {
    const found = configs.find((config) => config.name === name);
    if (found !== undefined) return found;
    throw new RangeError(`Cannot use the cameras: the policy sees ${name}, but it is not given`);
  });
}

/**
 * Name a source for people.
 *
 * @param source Where pictures come from.
 * @returns A device's path or ffmpeg's input.
 */
export function describeSource(source: CameraSource): string {
  return source.kind === "v4l2" ? source.device : source.arguments.at(-1) ?? "";
}

function nameOf(value: unknown): string {
  const name = typeof value === "object" && value !== null && "name" in value ? value.name : null;
  return typeof name === "string" ? `camera ${JSON.stringify(name)}` : "a camera";
}

/** The value that a path leads to, short enough for a sentence. */
function shown(value: unknown, path: readonly PropertyKey[]): string {
  let at: unknown = value;
  for (const key of path) {
    at = typeof at === "object" && at !== null
      ? (at as Record<PropertyKey, unknown>)[key]
      : undefined;
  }
  const text = JSON.stringify(at) ?? "missing";
  return `is ${text.length > 60 ? `${text.slice(0, 57)}...` : text}`;
}

/**
 * The command line of the ffmpeg that reads one camera.
 *
 * Pictures come out as PPM, one after the other: each is RGB24 behind a header of 15 bytes or so that
 * states its size. Plain `rawvideo` would cost the same and hide that a driver chose another size
 * than it was asked for, which V4L2 allows: every row would be shifted.
 *
 * Pictures keep their size. Scaling in ffmpeg would save little and give other pixels than
 * `resizeWithPad`, which the policy was trained with.
 *
 * @module
 */

import type { CameraConfig } from "./camera_config.ts";

/**
 * Decode each picture when it comes, hold none back, and look at no more than the first to learn what
 * the source sends, because what is looked at is not shown: ffmpeg's manual, `-fflags`, `-flags`,
 * `-probesize` and `-fpsprobesize`.
 */
const LOW_LATENCY = [
  ...["-fflags", "nobuffer", "-flags", "low_delay"],
  ...["-probesize", "32", "-fpsprobesize", "0"],
];
/** Pictures that may wait for the decoder; beyond that the device's driver drops them. */
const THREAD_QUEUE_SIZE = 4;

/**
 * What to call ffmpeg with.
 *
 * @param config Settings of the camera.
 * @returns Arguments; the pictures come on the standard output.
 */
export function ffmpegArguments(config: CameraConfig): string[] {
  const { rateHz } = config;
  return [
    ...["-nostdin", "-hide_banner", "-loglevel", "error"],
    // One picture is decoded at a time: threads would hold some back.
    ...["-filter_threads", "1", "-threads", "1", ...LOW_LATENCY],
    ...["-thread_queue_size", `${THREAD_QUEUE_SIZE}`, ...inputArguments(config)],
    ...["-map", "0:v:0", "-an", "-sn", "-dn"],
    // Even timestamps and the same rate for the output: else ffmpeg repeats pictures where the camera
    // left some out, and a repeated picture looks fresh. (`-fps_mode passthrough` is not in ffmpeg 4.)
    ...["-vf", `setpts=N/(${rateHz}*TB)`, "-r", `${rateHz}`],
    ...["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"],
  ];
}

function inputArguments({ source, width, height, rateHz }: CameraConfig): readonly string[] {
  if (source.kind === "ffmpeg") return source.arguments;
  return [
    ...["-f", "v4l2", "-input_format", source.pixelFormat],
    ...["-video_size", `${width}x${height}`, "-framerate", `${rateHz}`],
    ...["-i", source.device],
  ];
}

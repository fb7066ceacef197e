import assert from "node:assert/strict";
import { parseCameraConfig } from "./camera_config.ts";
import { ffmpegArguments } from "./ffmpeg_arguments.ts";

/** The value behind an option. */
function after(args: readonly string[], option: string): string | undefined {
  return args[args.indexOf(option) + 1];
}

Deno.test("ffmpegArguments() asks a V4L2 device for format, size and rate before its path", () => {
  const args = ffmpegArguments(parseCameraConfig({
    name: "cam_high",
    source: { kind: "v4l2", device: "/dev/video2", pixelFormat: "yuyv422" },
    width: 1280,
    height: 720,
    rateHz: 15,
  }));
  const input = args.slice(args.indexOf("v4l2") - 1, args.indexOf("-i") + 2);
  assert.deepEqual(input, [
    ...["-f", "v4l2", "-input_format", "yuyv422"],
    ...["-video_size", "1280x720", "-framerate", "15"],
    ...["-i", "/dev/video2"],
  ]);
  assert.equal(after(args, "-vf"), "setpts=N/(15*TB)");
  assert.equal(after(args, "-r"), "15");
});

Deno.test("ffmpegArguments() keeps ffmpeg from waiting, asking and talking", () => {
  const args = ffmpegArguments(parseCameraConfig({
    name: "cam_high",
    source: { kind: "v4l2", device: "/dev/video0" },
  }));
  assert.ok(args.includes("-nostdin") && args.includes("-an") && args.includes("-sn"));
  assert.equal(after(args, "-fflags"), "nobuffer");
  assert.equal(after(args, "-flags"), "low_delay");
  assert.equal(after(args, "-loglevel"), "error");
  assert.equal(after(args, "-input_format"), "mjpeg");
  assert.equal(after(args, "-pix_fmt"), "rgb24");
  assert.equal(args.at(-1), "pipe:1");
});

Deno.test("ffmpegArguments() passes an explicit input on as it is", () => {
  const input = ["-re", "-f", "lavfi", "-i", "testsrc2=size=64x48"];
  const args = ffmpegArguments(parseCameraConfig({
    name: "cam_high",
    source: { kind: "ffmpeg", arguments: input },
  }));
  const at = args.indexOf("-re");
  assert.deepEqual(args.slice(at, at + input.length), input);
  assert.ok(!args.includes("v4l2"));
});

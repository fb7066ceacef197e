import assert from "node:assert/strict";
import { parseCameraConfig } from "./camera_config.ts";
import { describeFailure, describeStartFailure, lastLineOf } from "./camera_failure.ts";

const config = parseCameraConfig({
  name: "cam_high",
  source: { kind: "v4l2", device: "/dev/video0" },
});

function streamOf(...chunks: readonly string[]): ReadableStream<Uint8Array> {
  return ReadableStream.from(chunks.map((chunk) => new TextEncoder().encode(chunk)));
}

Deno.test("describeFailure() says what to do about what ffmpeg said", () => {
  const ended = "ffmpeg ended with exit code 1";
  const advice: Record<string, RegExp> = {
    "/dev/video0: No such file or directory": /plug it in or name another device$/,
    "/dev/video0: No such device": /unplugged/,
    "/dev/video0: Device or resource busy": /close the program/,
    "/dev/video0: Permission denied": /group video/,
    "ioctl(VIDIOC_QUERYCAP): Inappropriate ioctl for device": /no camera/,
    "/dev/video0: Invalid argument": /another pixelFormat/,
  };
  for (const [line, expected] of Object.entries(advice)) {
    const sentence = describeFailure(config, ended, line);
    assert.ok(sentence.startsWith(`cam_high (/dev/video0) has failed: ${ended} (${line}); `));
    assert.match(sentence, expected);
  }
  assert.equal(
    describeFailure(config, ended, ""),
    "cam_high (/dev/video0) has failed: ffmpeg ended with exit code 1",
  );
});

Deno.test("describeStartFailure() says what to install or to allow", () => {
  const missing = describeStartFailure(config, "ffmpeg", new Deno.errors.NotFound("x"));
  assert.match(missing, /^Cannot open cam_high \(\/dev\/video0\): .* `apt install ffmpeg`$/);
  const forbidden = describeStartFailure(config, "ffmpeg", new Deno.errors.NotCapable("x"));
  assert.match(forbidden, /--allow-run=ffmpeg$/);
  assert.match(
    describeStartFailure(config, "ffmpeg", new Error("out of memory")),
    /out of memory$/,
  );
});

Deno.test("lastLineOf() keeps the last line of any number of chunks", async () => {
  assert.equal(await lastLineOf(streamOf()), "");
  assert.equal(await lastLineOf(streamOf("\n \n")), "");
  assert.equal(await lastLineOf(streamOf("a\nb", "c\n", "\n")), "bc");
  assert.equal(await lastLineOf(streamOf("[v4l2 @ 0x55ab] no signal\n")), "no signal");
});

Deno.test("lastLineOf() keeps no more than 4 KiB", async () => {
  const line = await lastLineOf(streamOf(..."abcdefgh".split("").map((c) => c.repeat(3000))));
  assert.equal(line, "g".repeat(1096) + "h".repeat(3000));
});

import assert from "node:assert/strict";
import { CAMERA_NAMES } from "../../common/types.ts";
import { describeSource, parseCameraConfig, parseCameraConfigs } from "./camera_config.ts";

const high = { name: "cam_high", source: { kind: "v4l2", device: "/dev/CAM_HIGH" } };
const left = { name: "cam_left_wrist", source: { kind: "v4l2", device: "/dev/CAM_LEFT" } };
const right = { name: "cam_right_wrist", source: { kind: "v4l2", device: "/dev/CAM_RIGHT" } };

Deno.test("parseCameraConfig() fills in what ALOHA's cameras send", () => {
  assert.deepEqual(parseCameraConfig(high), {
    name: "cam_high",
    source: { kind: "v4l2", device: "/dev/CAM_HIGH", pixelFormat: "mjpeg" },
    width: 640,
    height: 480,
    rateHz: 30,
    maxAgeMs: 200,
    silenceMs: 5_000,
  });
});

Deno.test("parseCameraConfig() names the camera, the field, its value and what it must be", () => {
  const cases: readonly [unknown, RegExp][] = [
    [{ ...high, width: 8 }, /camera "cam_high": width is 8: .*16/],
    [{ ...high, rateHz: 29.97 }, /camera "cam_high": rateHz is 29.97: .*int/],
    [{ ...high, name: "cam_low" }, /camera "cam_low": name is "cam_low": .*cam_high/],
    [{ ...high, source: { kind: "v4l2", device: "video0" } }, /source.device is "video0": .*\/dev/],
    [{ ...high, source: { kind: "ffmpeg", arguments: ["-i"] } }, /source.arguments is \["-i"\]: /],
    [{ ...high, source: { kind: "ffmpeg", arguments: ["a", "b"] } }, /must end in -i/],
    [{ ...high, fps: 30 }, /fps/],
    [{ name: "cam_high" }, /source is missing/],
    [{ ...high, maxAgeMs: 50 }, /maxAgeMs is 50, but at 30 Hz two periods take 66.7 ms/],
    [{ ...high, maxAgeMs: 900, silenceMs: 900 }, /silenceMs is 900: it must be more than/],
    [{ ...high, maxAgeMs: NaN }, /maxAgeMs/],
    [null, /a camera: is null/],
    ["camera", /a camera: is "camera"/],
  ];
  for (const [value, message] of cases) {
    assert.throws(() => parseCameraConfig(value), (error: Error) => {
      assert.ok(error instanceof RangeError);
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
});

Deno.test("parseCameraConfigs() puts the cameras in the order of the policy's", () => {
  const configs = parseCameraConfigs([right, high, left]);
  assert.deepEqual(configs.map(({ name }) => name), [...CAMERA_NAMES]);
});

Deno.test("parseCameraConfigs() refuses a camera that is missing, double or shares a device", () => {
  assert.throws(() => parseCameraConfigs([high, left]), /cam_right_wrist, but it is not given/);
  assert.throws(() => parseCameraConfigs([high, high, left]), /cam_high is given twice/);
  assert.throws(
    () => parseCameraConfigs([high, { ...left, source: high.source }, right]),
    /cam_high and cam_left_wrist are both \/dev\/CAM_HIGH/,
  );
});

Deno.test("describeSource() gives the device or ffmpeg's input", () => {
  assert.equal(describeSource(parseCameraConfig(high).source), "/dev/CAM_HIGH");
  assert.equal(describeSource({ kind: "ffmpeg", arguments: ["-i", "a.mp4"] }), "a.mp4");
});

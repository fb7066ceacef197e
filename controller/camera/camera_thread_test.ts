import assert from "node:assert/strict";
import { openCameraThread } from "./camera_thread.ts";
import { createFrameMemory } from "./latest_frame.ts";
import { lavfiCamera } from "./testing.ts";

const quiet = { onStatus: () => {}, onFailure: () => {} };

Deno.test("openCameraThread() starts a thread that closes without cameras", async () => {
  const thread = await openCameraThread({ ...quiet, now: () => performance.now() });
  assert.equal(await thread.close(), true);
});

Deno.test("openCameraThread() tells that settings do not fit, and can still be closed", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const thread = await openCameraThread({
    ...quiet,
    now: () => performance.now(),
    onFailure: resolve,
  });
  const config = lavfiCamera("cam_high", "testsrc2");
  const memory = createFrameMemory({ width: 8, height: 8 });
  thread.start({ cameras: [{ config, memory }], seed: 1, ffmpeg: "ffmpeg" });
  assert.match(await promise, /^Cannot open cam_high: its pictures have 64×48 pixels/);
  assert.equal(await thread.close(), true);
});

import assert from "node:assert/strict";
import { benchCameras } from "./bench.ts";
import { ffmpegTest } from "./testing.ts";

ffmpegTest("benchCameras() counts pictures and both sides' time", async () => {
  const bench = await benchCameras({ cameras: 2, width: 64, height: 48, durationMs: 500 });
  assert.ok(bench.framesPerSecond > 10 && bench.framesPerSecond < 120, `${bench.framesPerSecond}`);
  for (const share of [bench.ffmpegShare, bench.ownShare]) assert.ok(share >= 0 && share < 4);
  assert.ok(bench.resizeMs > 0);
});

ffmpegTest("benchCameras() refuses settings that no camera has", async () => {
  await assert.rejects(benchCameras({ rateHz: 0 }), RangeError);
});

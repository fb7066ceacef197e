import assert from "node:assert/strict";
import { seededRandom } from "../../common/random.ts";
import { Camera, type CameraOptions, type CameraStatus } from "./camera.ts";
import { type CameraConfig, parseCameraConfig } from "./camera_config.ts";
import { createFrameMemory, FrameWriter, LatestFrame } from "./latest_frame.ts";
import { ffmpegTest, isAlive, lavfiCamera } from "./testing.ts";

const DEADLINE_MS = 15_000;

/** A camera that is open, and what it said on the way. */
function openCamera(config: CameraConfig, extra: Partial<CameraOptions> = {}) {
  const memory = createFrameMemory(config);
  const latest = new LatestFrame(memory);
  const statuses: CameraStatus[] = [];
  let onEvent = () => {};
  const camera = new Camera({
    config,
    writer: new FrameWriter(memory),
    random: seededRandom(1),
    now: () => performance.now(),
    onChange: (status) => {
      statuses.push(status);
      onEvent();
    },
    ...extra,
  });
  return {
    camera,
    latest,
    statuses,
    /** Wait for a change of state after which something holds. */
    async untilStatus(holds: (status: CameraStatus) => boolean): Promise<CameraStatus> {
      const { promise, resolve, reject } = Promise.withResolvers<CameraStatus>();
      onEvent = () => {
        const found = statuses.findLast(holds);
        if (found !== undefined) resolve(found);
      };
      const timer = setTimeout(() => reject(new Error("No such status in time")), DEADLINE_MS);
      onEvent();
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
      }
    },
    /** Wait for pictures that were not there. */
    async nextFrames(count: number) {
      const wanted = latest.frames + count;
      while (latest.frames < wanted) {
        assert.ok(await latest.waitForNext(latest.frames, DEADLINE_MS), "no picture came");
      }
    },
  };
}

ffmpegTest("Camera delivers the colour of its source in the size asked for", async () => {
  const { camera, latest, nextFrames } = openCamera(lavfiCamera("cam_high", "color=0x20C040"));
  await using _ = camera;
  await nextFrames(1);
  const image = latest.take()?.image;
  assert.deepEqual([image?.width, image?.height, image?.data.length], [64, 48, 64 * 48 * 3]);
  const wanted = [0x20, 0xc0, 0x40];
  // The source is YUV: rounding there moves a value by a few units.
  image?.data.forEach((x, i) => assert.ok(Math.abs(x - wanted[i % 3]) <= 3, `${i}: ${x}`));
});

ffmpegTest("Camera delivers rows and channels in place", async () => {
  // Red grows with x, green with y.
  const filter = "color=black,format=gbrp,geq=r='X*4':g='Y*5':b=17";
  const config = parseCameraConfig({
    name: "cam_high",
    source: {
      kind: "ffmpeg",
      arguments: ["-re", "-f", "lavfi", "-i", filter.replace("black", "black:size=64x48:rate=30")],
    },
    width: 64,
    height: 48,
    maxAgeMs: 2_000,
  });
  const { camera, latest, nextFrames } = openCamera(config);
  await using _ = camera;
  await nextFrames(1);
  const data = latest.take()?.image.data ?? new Uint8Array();
  for (const [x, y] of [[0, 0], [63, 0], [0, 47], [63, 47], [20, 30]]) {
    const at = (y * 64 + x) * 3;
    assert.deepEqual([...data.subarray(at, at + 3)], [x * 4, y * 5, 17]);
  }
});

ffmpegTest("Camera's pictures change, and their times advance at its rate", async () => {
  const { camera, latest, nextFrames } = openCamera(lavfiCamera("cam_high", "testsrc2"));
  await using _ = camera;
  await nextFrames(1);
  const first = latest.take();
  assert.ok(first !== null);
  const before = Uint8Array.from(first.image.data);
  await nextFrames(12);
  const second = latest.take();
  assert.ok(second !== null && second.sequence >= first.sequence + 12);
  assert.notDeepEqual(second.image.data, before);
  const periods = second.sequence - first.sequence;
  const meanMs = (second.capturedMs - first.capturedMs) / periods;
  assert.ok(meanMs > 15 && meanMs < 150, `a picture every ${meanMs} ms`); // 33 ms when undisturbed
  assert.ok(second.capturedMs <= performance.now());
});

ffmpegTest("Camera repeats no picture where its source left some out", async () => {
  // Every third picture of 30: repeats would make it 30 again.
  const filter = "testsrc2=size=64x48:rate=240:duration=0.5,select='not(mod(n,3))'";
  const config = parseCameraConfig({
    name: "cam_high",
    source: { kind: "ffmpeg", arguments: ["-f", "lavfi", "-i", filter] },
    width: 64,
    height: 48,
    maxAgeMs: 2_000,
  });
  const { camera, untilStatus } = openCamera(config);
  await using _ = camera;
  const { frames } = await untilStatus(({ state }) => state === "failed");
  assert.ok(frames >= 38 && frames <= 40, `${frames} pictures of 40`);
});

ffmpegTest("Camera opens again when its ffmpeg was killed", async () => {
  const { camera, statuses, untilStatus, nextFrames } = openCamera(
    lavfiCamera("cam_high", "testsrc2"),
  );
  await using _ = camera;
  const { pid } = await untilStatus(({ state }) => state === "running");
  assert.ok(pid !== null);
  Deno.kill(pid, "SIGKILL");
  const failed = await untilStatus(({ state }) => state === "failed");
  assert.match(
    failed.failure ?? "",
    /^cam_high \(testsrc2=.*\) has failed: ffmpeg ended by SIGKILL/,
  );
  const back = await untilStatus(({ state, restarts }) => state === "running" && restarts === 1);
  assert.equal(back.failure, null);
  assert.notEqual(back.pid, pid);
  await nextFrames(3);
  assert.deepEqual(statuses.map(({ state }) => state), [
    "running",
    "failed",
    "starting",
    "running",
  ]);
});

ffmpegTest("Camera says in one sentence that its device is missing, and backs off", async () => {
  const waits: number[] = [];
  const config = parseCameraConfig({
    name: "cam_left_wrist",
    source: { kind: "v4l2", device: "/dev/no_such_camera" },
  });
  const { camera, untilStatus } = openCamera(config, {
    random: () => 0,
    pause: (ms) => {
      waits.push(ms);
      return Promise.resolve();
    },
  });
  await using _ = camera;
  const { failure } = await untilStatus(({ restarts }) => restarts === 7);
  assert.match(
    failure ?? "",
    /^cam_left_wrist \(\/dev\/no_such_camera\) has failed: .*No such file or directory\); plug it in/,
  );
  assert.doesNotMatch(failure ?? "", /\n/);
  assert.deepEqual(waits.slice(0, 7), [200, 400, 800, 1600, 3200, 6400, 10_000]);
});

ffmpegTest("Camera refuses pictures of another size than was asked for", async () => {
  const config = parseCameraConfig({
    name: "cam_high",
    source: { kind: "ffmpeg", arguments: ["-re", "-f", "lavfi", "-i", "color=red:size=32x48"] },
    width: 64,
    height: 48,
  });
  const { camera, latest, untilStatus } = openCamera(config);
  await using _ = camera;
  const { failure } = await untilStatus(({ state }) => state === "failed");
  assert.match(failure ?? "", /pictures of 32×48, but 64×48 were asked for/);
  assert.equal(latest.take(), null);
});

ffmpegTest("Camera goes stale while its ffmpeg is stopped, which is then replaced", async () => {
  const config = lavfiCamera("cam_high", "testsrc2", { maxAgeMs: 400, silenceMs: 900 });
  const { camera, latest, untilStatus } = openCamera(config);
  await using _ = camera;
  const { pid } = await untilStatus(({ state }) => state === "running");
  assert.ok(pid !== null);
  assert.equal(latest.check(performance.now(), 2_000).kind, "fresh");
  Deno.kill(pid, "SIGSTOP");
  const { failure } = await untilStatus(({ state }) => state === "failed");
  const outcome = latest.check(performance.now(), config.maxAgeMs);
  assert.ok(outcome.kind === "stale" && outcome.ageMs >= 900, "stale since it was stopped");
  assert.match(failure ?? "", /no picture came for 0.9 s/);
  await untilStatus(({ state, restarts }) => state === "running" && restarts === 1);
  assert.equal(isAlive(pid), false);
  assert.equal(latest.check(performance.now(), 2_000).kind, "fresh");
});

ffmpegTest("Camera leaves no ffmpeg behind, running or stopped", async () => {
  for (const signal of ["SIGCONT", "SIGSTOP"] as const) {
    const { camera, statuses, untilStatus } = openCamera(lavfiCamera("cam_high", "testsrc2"));
    const { pid } = await untilStatus(({ state }) => state === "running");
    assert.ok(pid !== null && isAlive(pid));
    Deno.kill(pid, signal);
    await camera[Symbol.asyncDispose]();
    assert.equal(isAlive(pid), false);
    assert.equal(camera.status().state, "stopped");
    assert.equal(statuses.at(-1)?.state, "stopped");
    await camera[Symbol.asyncDispose](); // a second time does nothing
  }
});

ffmpegTest("Camera can be disposed of at once and between attempts", async () => {
  await openCamera(lavfiCamera("cam_high", "testsrc2")).camera[Symbol.asyncDispose]();
  const waiting = Promise.withResolvers<void>();
  const { camera, untilStatus } = openCamera(lavfiCamera("cam_high", "no_such_filter"), {
    pause: (_, signal) => {
      signal.addEventListener("abort", () => waiting.resolve());
      return waiting.promise;
    },
  });
  await untilStatus(({ state }) => state === "failed");
  await camera[Symbol.asyncDispose]();
  assert.equal(camera.status().restarts, 0);
});

Deno.test("Camera says what to install where ffmpeg is missing", async () => {
  const { camera, untilStatus } = openCamera(lavfiCamera("cam_high", "testsrc2"), {
    ffmpeg: "/no/such/ffmpeg",
    pause: (_, signal) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
  });
  await using _ = camera;
  const { failure, pid } = await untilStatus(({ state }) => state === "failed");
  assert.match(failure ?? "", /there is no program "\/no\/such\/ffmpeg"; install ffmpeg/);
  assert.equal(pid, null);
});

Deno.test("Camera refuses memory for another size", () => {
  const config = lavfiCamera("cam_high", "testsrc2");
  const writer = new FrameWriter(createFrameMemory({ width: 8, height: 8 }));
  const options = { config, writer, random: seededRandom(1), now: () => 0 };
  assert.throws(() => new Camera(options), /cam_high: its pictures have 64×48 .* 8×8/);
});

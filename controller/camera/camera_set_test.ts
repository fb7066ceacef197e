import assert from "node:assert/strict";
import { resizeWithPad } from "../../common/policy/image_resize.ts";
import { CAMERA_NAMES, type Logger } from "../../common/types.ts";
import type { CameraConfig } from "./camera_config.ts";
import { CameraSet, type CameraSetOptions } from "./camera_set.ts";
import { ffmpegTest, isAlive, lavfiCamera } from "./testing.ts";

const DEADLINE_MS = 15_000;
const COLOURS = ["0xFF0000", "0x00FF00", "0x0000FF"];

function colourCameras(settings: Parameters<typeof lavfiCamera>[2] = {}): CameraConfig[] {
  return CAMERA_NAMES.map((name, i) => lavfiCamera(name, `color=${COLOURS[i]}`, settings));
}

/** A logger whose lines can be waited for. */
function lines(): Logger & { readonly all: string[]; until(pattern: RegExp): Promise<string> } {
  const all: string[] = [];
  let onLine = () => {};
  const take = (message: string) => {
    all.push(message);
    onLine();
  };
  return {
    all,
    info: take,
    warn: take,
    error: take,
    async until(pattern) {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const timer = setTimeout(() => reject(new Error(`No line ${pattern} in time`)), DEADLINE_MS);
      onLine = () => {
        const found = all.find((line) => pattern.test(line));
        if (found !== undefined) resolve(found);
      };
      onLine();
      try {
        return await promise;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** Opens cameras and waits until the set knows that each runs. */
async function openAll(cameras: readonly CameraConfig[], logger = lines()) {
  const set = await open(cameras, { logger });
  for (const name of CAMERA_NAMES) await logger.until(new RegExp(`^Camera ${name} is open$`));
  return set;
}

function open(cameras: readonly unknown[], extra: Partial<CameraSetOptions> = {}) {
  return CameraSet.open({ cameras, side: 32, seed: 1, logger: lines(), ...extra });
}

ffmpegTest(
  "CameraSet.observe() gives each camera's picture as resizeWithPad() makes it",
  async () => {
    await using set = await open(colourCameras());
    assert.ok(await set.waitUntilFresh(DEADLINE_MS), JSON.stringify(set.report()));
    const view = set.observe();
    assert.ok(view.kind === "pictures");
    CAMERA_NAMES.forEach((name, camera) => {
      const { width, height, data } = view.images[name];
      assert.deepEqual([width, height], [32, 32]);
      // 64×48 into 32×32: 24 rows of picture between bars of 4 rows.
      const centre = [...data.subarray((16 * 32 + 16) * 3, (16 * 32 + 16) * 3 + 3)];
      centre.forEach((x, channel) => assert.ok(channel === camera ? x > 250 : x < 5, `${centre}`));
      const source = new Uint8Array(64 * 48 * 3).map((_, i) => centre[i % 3]);
      assert.deepEqual(data, resizeWithPad({ width: 64, height: 48, data: source }, 32, 32).data);
      assert.ok(data.buffer instanceof ArrayBuffer, "not in the memory that cameras write to");
    });
  },
);

ffmpegTest("CameraSet.observe() copies pictures that have the policy's size", async () => {
  const size = { width: 32, height: 32 };
  await using set = await open(colourCameras(size));
  assert.ok(await set.waitUntilFresh(DEADLINE_MS));
  const view = set.observe();
  assert.ok(view.kind === "pictures");
  assert.ok(view.images.cam_high.data.buffer instanceof ArrayBuffer);
});

ffmpegTest("CameraSet stamps pictures on the controller's clock", async () => {
  const now = () => performance.now() + 1e6;
  await using set = await open(colourCameras(), { now });
  const openedMs = now();
  assert.ok(await set.waitUntilFresh(DEADLINE_MS));
  const view = set.observe();
  assert.ok(view.kind === "pictures");
  for (const capturedMs of Object.values(view.capturedMs)) {
    assert.ok(capturedMs <= now() && capturedMs > openedMs - 1, `${capturedMs} at ${openedMs}`);
  }
  for (const { ageMs } of set.report()) assert.ok(ageMs !== null && ageMs >= 0 && ageMs <= 2_000);
});

ffmpegTest("CameraSet reads on while the controller computes", async () => {
  await using set = await open(colourCameras({ maxAgeMs: 800 }));
  assert.ok(await set.waitUntilFresh(DEADLINE_MS));
  const before = set.report().map(({ frames }) => frames);
  const endMs = performance.now() + 1_000;
  while (performance.now() < endMs); // as a policy does, for longer than the bound
  const after = set.report();
  after.forEach(({ frames, ageMs }, i) => {
    assert.ok(frames >= before[i] + 5, `${frames - before[i]} pictures in 1 s`);
    assert.ok(ageMs !== null && ageMs < 800);
  });
  assert.equal(set.observe().kind, "pictures");
});

ffmpegTest("CameraSet names a camera that goes away and takes it back", async () => {
  const logger = lines();
  const cameras = colourCameras({ maxAgeMs: 300, silenceMs: 800 });
  await using set = await openAll(cameras, logger);
  const { pid } = set.report()[1];
  assert.ok(pid !== null);
  Deno.kill(pid, "SIGSTOP");
  const warning = await logger.until(/no picture came for 0.8 s/);
  assert.match(warning, /^Camera cam_left_wrist .*; it is opened again until it is back$/);
  const view = set.observe();
  if (view.kind === "unavailable") { // unless it is back within the milliseconds since
    assert.deepEqual(view.cameras, ["cam_left_wrist"]);
    assert.match(
      view.sentence,
      /^cam_left_wrist \(color=0x00FF00.*\) has sent no picture for \d\.\d s: .*has failed: no picture/,
    );
  }
  await logger.until(/^Camera cam_left_wrist is back$/);
  assert.ok(await set.waitUntilFresh(DEADLINE_MS));
  assert.deepEqual(set.report().map(({ restarts }) => restarts), [0, 1, 0]);
  assert.equal(logger.all.length, 5, "three that open, one that goes and is back");
});

ffmpegTest("CameraSet says which camera cannot be opened while the others go on", async () => {
  const [high, , right] = colourCameras();
  const logger = lines();
  const source = { kind: "v4l2", device: "/dev/no_such_camera" };
  await using set = await open([high, { name: "cam_left_wrist", source }, right], { logger });
  await logger.until(/cam_left_wrist .*No such file or directory\); plug it in/);
  assert.equal(await set.waitUntilFresh(300), false);
  const view = set.observe();
  assert.ok(view.kind === "unavailable");
  assert.ok(view.cameras.includes("cam_left_wrist"));
  assert.match(view.sentence, /cam_left_wrist \(\/dev\/no_such_camera\) has sent no picture for/);
});

ffmpegTest("CameraSet leaves no ffmpeg behind", async () => {
  const set = await openAll(colourCameras());
  const pids = set.report().map(({ pid }) => pid ?? 0);
  assert.ok(pids.every((pid) => pid > 0 && isAlive(pid)));
  await set[Symbol.asyncDispose]();
  assert.ok(pids.every((pid) => !isAlive(pid)));
  await set[Symbol.asyncDispose](); // a second time does nothing
  assert.equal(await set.waitUntilFresh(10), false);
});

Deno.test("CameraSet.open() refuses settings before anything is started", async () => {
  const cameras = colourCameras();
  await assert.rejects(open(cameras.slice(1)), /cam_high, but it is not given/);
  await assert.rejects(open(cameras, { side: 0 }), /side is 0, expected an integer of 1 or more/);
  await assert.rejects(open(cameras, { seed: 0.5 }), /seed is 0.5, expected an integer/);
});

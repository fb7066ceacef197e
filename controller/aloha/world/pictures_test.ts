import assert from "node:assert/strict";
import { resetState } from "../../../common/robot/aloha.ts";
import { CAMERA_NAMES } from "../../../common/types.ts";
import { CameraSet } from "../../camera/camera_set.ts";
import { ffmpegTest, lavfiCamera } from "../../camera/testing.ts";
import { waitForPictures, withPictures } from "./pictures.ts";
import { SceneWorld } from "./scene_world.ts";
import { lines, SwitchedPictures } from "./testing.ts";

const NEVER = new AbortController().signal;
const STATE = resetState(1);

Deno.test("waitForPictures() says once what is missing, however long it takes", async () => {
  const pictures = new SwitchedPictures();
  pictures.areFresh = false;
  let waits = 0;
  const logger = lines();
  await waitForPictures(
    {
      observe: () => pictures.observe(),
      waitUntilFresh: () => Promise.resolve(++waits === 3),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    logger,
    NEVER,
  );
  assert.equal(waits, 3);
  assert.deepEqual(logger.all, ["The episode waits for pictures: cam_high is gone"]);
});

Deno.test("withPictures() owns both parts, and waits for the cameras before it begins", async () => {
  const scene = await SceneWorld.create({ task: "reach", imageSize: 8, maxEpisodeSteps: 1 });
  const pictures = new SwitchedPictures();
  pictures.areFresh = false;
  const logger = lines();
  {
    await using world = withPictures(scene, pictures, logger);
    const begun = world.begin(3, NEVER, STATE);
    await logger.until(/waits for pictures/);
    pictures.switchOn();
    await begun;
    assert.equal(world.prompt, "reach the red ball");
    assert.deepEqual(world.observe(), pictures.observe());
    assert.equal(world.onStep(STATE).isTruncated, true);
  }
  assert.ok(pictures.isClosed);
  assert.throws(() => scene.onStep(STATE), /no episode is running/);
});

ffmpegTest("withPictures() shows ffmpeg's pictures and scores in the scene", async () => {
  const logger = lines();
  const pictures = await CameraSet.open({
    cameras: CAMERA_NAMES.map((name) => lavfiCamera(name, "color=0xFF0000")),
    side: 16,
    seed: 1,
    logger,
  });
  const scene = await SceneWorld.create({ task: "reach", imageSize: 8 });
  await using world = withPictures(scene, pictures, logger);
  await world.begin(0, AbortSignal.timeout(15_000));
  const { reward } = world.onStep(STATE);
  // Nothing has moved: the step costs its time.
  assert.ok(Math.abs(reward + 0.002) < 1e-6, `${reward}`);
  const view = world.observe();
  assert.ok(view.kind === "pictures");
  const at = 3 * (8 * 16 + 8);
  assert.ok(view.images.cam_high.data[at] > 250 && view.images.cam_high.data[at + 1] < 5);
});

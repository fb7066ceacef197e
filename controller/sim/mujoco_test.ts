import assert from "node:assert/strict";
import { loadMujoco, PhysicsData } from "./mujoco.ts";

const FALLING_BALL = `<mujoco><worldbody>
  <body name="ball" pos="0 0 5"><freejoint/><geom name="ball" size="0.1"/></body>
</worldbody></mujoco>`;

Deno.test("loadMujoco() loads the module once", async () => {
  assert.equal(await loadMujoco(), await loadMujoco());
});

Deno.test("PhysicsData simulates free fall", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(FALLING_BALL);
  using data = new PhysicsData(model);
  data.step(100); // 0.2 s at MuJoCo's default step of 2 ms
  assert.ok(Math.abs(data.views.qvel[2] - (-9.81 * 0.2)) < 1e-9);
  data.updatePoses();
  assert.equal(data.views.geomXpos[2], data.views.qpos[2]);
  data.reset();
  assert.equal(data.views.qpos[2], 5);
});

Deno.test("PhysicsData of one model do not share their state", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(FALLING_BALL);
  using first = new PhysicsData(model);
  using second = new PhysicsData(model);
  first.step(10);
  assert.ok(first.views.qpos[2] < 5);
  assert.equal(second.views.qpos[2], 5);
});

Deno.test("PhysicsData takes new views after the heap has grown", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(FALLING_BALL);
  using data = new PhysicsData(model);
  data.step(10);
  const before = data.views;
  const height = before.qpos[2];
  using large = mujoco.compile(
    FALLING_BALL.replace("<worldbody>", '<size memory="64M"/><worldbody>'),
  );
  using _largeData = new PhysicsData(large);
  assert.equal(before.qpos.length, 0, "the heap should have grown and detached the old views");
  assert.equal(data.views.qpos[2], height);
});

Deno.test("compile() refuses a bad scene in a sentence", async () => {
  const mujoco = await loadMujoco();
  assert.throws(() => mujoco.compile("<mujoco><nonsense/></mujoco>"), {
    name: "SyntaxError",
    message: /Cannot compile the MuJoCo scene: .*nonsense/s,
  });
});

Deno.test("id() names what it does not find", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(FALLING_BALL);
  assert.equal(model.id("body", "ball"), 1);
  assert.throws(() => model.id("geom", "cube"), {
    name: "RangeError",
    message: /geom "cube"/,
  });
});

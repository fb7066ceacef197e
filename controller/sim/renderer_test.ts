import assert from "node:assert/strict";
import loadModule from "@mujoco/mujoco";
import { CAMERA_NAMES, type CameraName } from "../../common/types.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator } from "./demonstrator.ts";
import { loadMujoco, PhysicsData } from "./mujoco.ts";
import { seededRandom } from "../../common/random.ts";
import { ReachTask } from "./reach_task.ts";
import { Renderer } from "./renderer.ts";
import { sceneXml } from "./scene.ts";
import { TASK_NAMES } from "./task_names.ts";

/** Each shape and turn that the renderer knows, in colours of different hue. */
const SHAPES = `<mujoco><compiler angle="radian"/><worldbody>
  <geom name="floor" type="plane" size="0 0 1" rgba="0.9 0.9 0.9 1"/>
  <geom type="box" pos="0.2 0.3 0.2" euler="0.3 0.5 0.1" size="0.1 0.15 0.07" rgba="1 0 0 1"/>
  <geom type="sphere" pos="-0.3 0.2 0.3" size="0.14" rgba="0 1 0 1"/>
  <geom type="capsule" pos="0.3 -0.3 0.3" euler="1 0.4 0" size="0.06 0.15" rgba="0 0 1 1"/>
  <geom type="cylinder" pos="-0.3 -0.3 0.3" euler="0.7 -0.4 0" size="0.1 0.12" rgba="1 1 0 1"/>
  <geom type="ellipsoid" pos="0 0 0.4" euler="0.4 0.2 0" size="0.2 0.08 0.05" rgba="0 1 1 1"/>
  <geom type="box" pos="0 0.05 0.15" size="0.5 0.02 0.02" rgba="1 0 1 1"/>
  <body pos="0 0 1.6"><joint axis="1 0 0"/><geom size="0.01" rgba="0 0 0 0" mass="1"/>
    <camera name="above" fovy="50"/>
    <camera name="aside" pos="0.9 -0.9 -0.6" xyaxes="0.707 0.707 0 -0.5 0.5 0.707" fovy="58"/>
    <camera name="inside" pos="0 0 -1.3" xyaxes="1 0 0 0 0.2 1" fovy="80"/>
  </body>
</worldbody></mujoco>`;

/** Which channels are lit, such as "101"; shading scales all three alike. */
function hue(r: number, g: number, b: number): string {
  const max = Math.max(r, g, b);
  return [r, g, b].map((x) => x > 0.3 * max ? 1 : 0).join("");
}

Deno.test("Renderer shows at each pixel the shape that MuJoCo's own ray casting hits", async () => {
  const mujoco = await loadMujoco();
  const reference = await loadModule();
  const size = 96;
  using model = mujoco.compile(SHAPES);
  using data = new PhysicsData(model);
  data.updatePoses();
  const renderer = new Renderer(model, size);
  const rawModel = reference.MjModel.from_xml_string(SHAPES);
  const rawData = new reference.MjData(rawModel);
  reference.mj_forward(rawModel, rawData);
  const hit = new reference.IntBuffer(1);
  const normal = new reference.DoubleBuffer(3);
  try {
    for (const name of ["above", "aside", "inside"]) {
      const camera = model.id("camera", name);
      const picture = renderer.render(data, camera);
      const { camXpos, camXmat } = data.views;
      const from = [...camXpos.subarray(3 * camera, 3 * camera + 3)];
      const r = camXmat.subarray(9 * camera, 9 * camera + 9);
      const slope = Math.tan(model.arrays.camFovy[camera] * Math.PI / 360) * 2 / size;
      let differing = 0;
      for (let pixel = 0; pixel < size * size; pixel += 7) {
        const x = (pixel % size + 0.5 - size / 2) * slope;
        const y = (size / 2 - Math.floor(pixel / size) - 0.5) * slope;
        const ray = [0, 1, 2].map((k) => r[3 * k] * x + r[3 * k + 1] * y - r[3 * k + 2]);
        reference.mj_ray(rawModel, rawData, from, ray, [1, 1, 1, 1, 1, 1], true, -1, hit, normal);
        const geom = hit.GetView()[0];
        const [red, green, blue] = geom < 0
          ? [135, 150, 170]
          : model.arrays.geomRgba.subarray(4 * geom, 4 * geom + 3);
        const shown = picture.subarray(3 * pixel, 3 * pixel + 3);
        if (hue(shown[0], shown[1], shown[2]) !== hue(red, green, blue)) differing++;
      }
      assert.equal(differing, 0, `${differing} pixels of camera ${name} differ`);
    }
  } finally {
    normal.delete();
    hit.delete();
    rawData.delete();
    rawModel.delete();
  }
});

/** Colour of the pixel where a camera shows a point of the world. */
function colourAt(
  robot: SimulatedAloha,
  camera: CameraName,
  point: readonly number[],
): { column: number; row: number; rgb: number[] } {
  const id = robot.data.model.id("camera", camera);
  const { camXpos, camXmat } = robot.data.views;
  const offset = point.map((x, k) => x - camXpos[3 * id + k]);
  const [x, y, z] = [0, 1, 2].map((axis) =>
    offset.reduce((sum, d, k) => sum + d * camXmat[9 * id + 3 * k + axis], 0)
  );
  const { data, width } = robot.renderCamera(camera);
  const focal = width / 2 / Math.tan(29 * Math.PI / 180);
  const column = Math.floor(width / 2 + focal * x / -z);
  const row = Math.floor(width / 2 - focal * y / -z);
  const at = 3 * (row * width + column);
  return { column, row, rgb: [...data.subarray(at, at + 3)] };
}

const isRed = ([r, g, b]: number[]) => r > 100 && g < 40 && b < 40;

Deno.test("cam_high shows the ball where it projects, at any size", async () => {
  for (const imageSize of [28, 56, 224]) {
    using robot = await SimulatedAloha.create({ task: "reach", imageSize });
    const task = robot.task;
    assert.ok(task instanceof ReachTask);
    let seen = 0;
    for (let seed = 0; seed < 20; seed++) {
      robot.resetSync(seed);
      const { column, row, rgb } = colourAt(robot, "cam_high", task.target);
      assert.ok(column >= 0 && column < imageSize && row >= 0 && row < imageSize);
      if (isRed(rgb)) seen++;
    }
    // The arm may stand between the camera and the ball.
    assert.ok(seen >= 17, `${seen} of 20 at ${imageSize} pixels`);
  }
});

Deno.test("the left wrist camera shows the ball between the fingers at the pinch point", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 56 });
  const task = robot.task;
  assert.ok(task instanceof ReachTask);
  const [x, y, z] = robot.data.views.siteXpos;
  task.moveTarget([x, y, z]);
  robot.data.updatePoses();
  assert.ok(isRed(colourAt(robot, "cam_left_wrist", [x, y, z]).rgb));
  const { data, width } = robot.renderCamera("cam_left_wrist");
  const bluePixelsFrom = (first: number) => {
    let count = 0;
    for (let i = 0; i < data.length; i += 3) {
      const isOnSide = Math.floor((i / 3 % width) / (width / 2)) === first;
      if (isOnSide && data[i + 2] > 100 && data[i] < 40) count++;
    }
    return count;
  };
  assert.ok(bluePixelsFrom(0) > 50 && bluePixelsFrom(1) > 50);
});

Deno.test("Renderer hides what lies behind: a ball under the table is not seen", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 56 });
  const task = robot.task;
  assert.ok(task instanceof ReachTask);
  const place = (z: number) => {
    task.moveTarget([0, 0, z]);
    robot.data.updatePoses();
    return colourAt(robot, "cam_high", [0, 0, z]).rgb;
  };
  assert.ok(isRed(place(0.2)));
  const covered = place(-0.2);
  assert.ok(!isRed(covered) && Math.min(...covered) > 60, `${covered}`);
  assert.ok(isRed(place(0.2)), "the kept still picture should not remember the ball");
});

Deno.test("Renderer draws the same picture again, and from another state of the scene", async () => {
  for (const task of TASK_NAMES) {
    using first = await SimulatedAloha.create({ task, imageSize: 40 });
    using second = await SimulatedAloha.create({ task, imageSize: 40 });
    const demonstrator = createDemonstrator(first);
    demonstrator.reset();
    for (let i = 0; i < 10; i++) first.stepSync(demonstrator.act());
    const expected = first.observeSync();
    second.observeSync();
    assert.deepEqual(first.observeSync(), expected);
    assert.notDeepEqual(second.observeSync(), expected);
  }
});

Deno.test("Renderer survives shapes all around and through the camera", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 16 });
  const random = seededRandom(2);
  for (let i = 0; i < 100; i++) {
    // Any pose at all, links through the table and through each other included.
    robot.data.views.qpos.forEach((_, k, qpos) => qpos[k] = 6 * random() - 3);
    robot.data.updatePoses();
    for (const name of CAMERA_NAMES) assert.equal(robot.renderCamera(name).data.length, 768);
  }
});

Deno.test("Renderer refuses a wrong size, buffer or shape in a sentence", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(sceneXml("reach"));
  using data = new PhysicsData(model);
  assert.throws(() => new Renderer(model, 5000), { name: "RangeError", message: /1–4096/ });
  assert.throws(() => new Renderer(model, 10).render(data, 0, new Uint8Array(299)), {
    name: "RangeError",
    message: /299 bytes.*needs 300/,
  });
  using field = mujoco.compile(
    `<mujoco><asset><hfield name="h" nrow="2" ncol="2" size="1 1 1 1"/></asset><worldbody>
      <geom type="hfield" hfield="h"/></worldbody></mujoco>`,
  );
  assert.throws(() => new Renderer(field, 10), { name: "RangeError", message: /type is 1/ });
});

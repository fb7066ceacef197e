import assert from "node:assert/strict";
import { ARM_NAMES, JOINT_RANGES_RAD, JOINTS_PER_ARM } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { loadMujoco, PhysicsData } from "../sim/mujoco.ts";
import { sceneXml } from "../sim/scene.ts";
import { LINKS } from "./arm_geometry.ts";
import { gravitySagRad, gravityTorques } from "./gravity.ts";

Deno.test("gravityTorques() are MuJoCo's, in poses all over the ranges", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(sceneXml("reach"));
  using data = new PhysicsData(model);
  const random = seededRandom(5);
  for (let pose = 0; pose < 50; pose++) {
    data.reset();
    ARM_NAMES.forEach((arm, a) => {
      const joints = JOINT_RANGES_RAD.map(({ min, max }) => uniform(random, min, max));
      joints.forEach((angle, j) => data.views.qpos[8 * a + j] = angle);
      data.forward();
      const torques = gravityTorques(arm, joints);
      for (let j = 0; j < JOINTS_PER_ARM; j++) {
        assert.ok(
          Math.abs(torques[j] - data.views.qfrcBias[8 * a + j]) < 1e-9,
          `${arm} joint ${j}: ${torques[j]}, MuJoCo ${data.views.qfrcBias[8 * a + j]}`,
        );
      }
    });
  }
});

Deno.test("gravitySagRad() lets a stretched arm hang, and an upright one stand", () => {
  const stretched = gravitySagRad("left", [0, 1.2, -1.2, 0, 0, 0]);
  // The shoulder turns the arm down for positive angles.
  assert.ok(stretched[1] > 0.03 && stretched[1] < 0.08, `${stretched[1]}`);
  assert.ok(Math.abs(stretched[0]) < 1e-12);
  const torque = gravityTorques("left", [0, 1.2, -1.2, 0, 0, 0])[1];
  assert.equal(stretched[1], -torque / LINKS[1].kp);
});

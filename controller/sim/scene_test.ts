import assert from "node:assert/strict";
import { ARM_NAMES, CONTROL_PERIOD_MS, JOINT_RANGES_RAD } from "../../common/robot/aloha.ts";
import { CAMERA_NAMES } from "../../common/types.ts";
import { FINGER, fingerToGripper, gripperToFingerM, LINKS } from "../kinematics/arm_geometry.ts";
import { loadMujoco, PhysicsData } from "./mujoco.ts";
import { sceneXml, SUBSTEPS, TIME_STEP_S } from "./scene.ts";
import { TASK_NAMES } from "./task_names.ts";

Deno.test("sceneXml() compiles for every task with the cameras, joints and servos it names", async () => {
  const mujoco = await loadMujoco();
  for (const task of TASK_NAMES) {
    using model = mujoco.compile(sceneXml(task));
    for (const camera of CAMERA_NAMES) {
      assert.equal(model.arrays.camFovy[model.id("camera", camera)], 58);
    }
    ARM_NAMES.forEach((arm, a) => {
      LINKS.forEach(({ name }, j) => {
        assert.equal(model.id("actuator", `${arm}_${name}`), 8 * a + j);
        assert.equal(model.arrays.jointQpos[model.id("joint", `${arm}_${name}`)], 8 * a + j);
      });
      assert.equal(model.id("actuator", `${arm}_finger_a`), 8 * a + 6);
      assert.equal(model.id("actuator", `${arm}_finger_b`), 8 * a + 7);
    });
  }
});

Deno.test("a control step is ten physics steps", () => {
  assert.equal(SUBSTEPS * TIME_STEP_S * 1000, CONTROL_PERIOD_MS);
});

Deno.test("the arms' joints stop at their ranges", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(sceneXml("reach"));
  using data = new PhysicsData(model);
  // Servos beyond the range: MuJoCo clamps controls, so push the elbow through its start instead.
  data.views.qpos[2] = JOINT_RANGES_RAD[2].max + 0.2;
  data.views.ctrl[2] = JOINT_RANGES_RAD[2].max;
  data.step(500);
  assert.ok(data.views.qpos[2] < JOINT_RANGES_RAD[2].max + 0.03);
});

Deno.test("a gripper number and a finger position convert both ways", () => {
  assert.equal(gripperToFingerM(0), FINGER.commandRangeM.min);
  assert.equal(gripperToFingerM(1), FINGER.commandRangeM.max);
  for (const gripper of [0, 0.3, 0.51, 1]) {
    assert.ok(Math.abs(fingerToGripper(gripperToFingerM(gripper)) - gripper) < 1e-12);
  }
});

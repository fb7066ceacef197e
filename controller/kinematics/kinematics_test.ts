import assert from "node:assert/strict";
import fc from "fast-check";
import { ARM_NAMES, JOINT_RANGES_RAD, RESET_POSE_RAD } from "../../common/robot/aloha.ts";
import { forwardKinematics } from "./kinematics.ts";
import { loadMujoco, PhysicsData } from "../sim/mujoco.ts";
import { sceneXml } from "../sim/scene.ts";

/** Six joint angles anywhere within their ranges. */
const anyJoints = fc.tuple(
  ...JOINT_RANGES_RAD.map(({ min, max }) => fc.double({ min, max, noNaN: true })),
);

Deno.test("forwardKinematics() agrees with MuJoCo to 1e-6 m for both arms", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(sceneXml("reach"));
  using data = new PhysicsData(model);
  fc.assert(
    fc.property(anyJoints, anyJoints, (left, right) => {
      data.views.qpos.set(left, 0);
      data.views.qpos.set(right, 8);
      data.updatePoses();
      ARM_NAMES.forEach((arm, i) => {
        const pose = forwardKinematics(arm, arm === "left" ? left : right);
        const site = model.id("site", `${arm}_pinch`);
        const { siteXpos, siteXmat } = data.views;
        for (let k = 0; k < 3; k++) {
          assert.ok(Math.abs(pose.position[k] - siteXpos[3 * site + k]) < 1e-6, `${arm} ${i}`);
        }
        for (let k = 0; k < 9; k++) {
          assert.ok(Math.abs(pose.rotation[k] - siteXmat[9 * site + k]) < 1e-6);
        }
      });
    }),
    { numRuns: 100 },
  );
});

Deno.test("forwardKinematics() puts the reset pose where ALOHA has it, both arms mirrored", () => {
  const left = forwardKinematics("left", RESET_POSE_RAD);
  const right = forwardKinematics("right", RESET_POSE_RAD);
  // By hand from the link lengths: base + elbow (−0.2116, 0.2209) + forearm + gripper.
  assert.ok(Math.abs(left.position[0] - -0.168) < 2e-3);
  assert.ok(Math.abs(left.position[2] - 0.33) < 2e-3);
  assert.ok(Math.abs(left.position[0] + right.position[0]) < 1e-12);
  assert.equal(left.position[2], right.position[2]);
});

Deno.test("forwardKinematics()'s joint axes and positions give the true derivative", () => {
  fc.assert(
    fc.property(anyJoints, fc.nat(5), (joints, j) => {
      const step = 1e-6;
      const pose = forwardKinematics("right", joints);
      const moved = forwardKinematics("right", joints.map((q, i) => i === j ? q + step : q));
      const axis = pose.jointAxes.subarray(3 * j, 3 * j + 3);
      const lever = [0, 1, 2].map((k) => pose.position[k] - pose.jointPositions[3 * j + k]);
      for (let k = 0; k < 3; k++) {
        const u = (k + 1) % 3, v = (k + 2) % 3;
        const expected = axis[u] * lever[v] - axis[v] * lever[u];
        const actual = (moved.position[k] - pose.position[k]) / step;
        assert.ok(Math.abs(actual - expected) < 1e-5);
      }
    }),
    { numRuns: 100 },
  );
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { ARM_NAMES, JOINT_RANGES_RAD, RESET_POSE_RAD } from "../../common/robot/aloha.ts";
import { FINGER, PINCH_OFFSET, type Vec3 } from "../kinematics/arm_geometry.ts";
import { solveIk } from "./ik.ts";
import { forwardKinematics } from "../kinematics/kinematics.ts";
import { REACH_BOX_M } from "./reach_task.ts";

Deno.test("solveIk() reaches all of the reach box, within joint ranges and above the table", () => {
  const margin = 0.025; // demonstrations go this far beyond the box
  const min = REACH_BOX_M.min.map((x) => x - margin);
  const max = REACH_BOX_M.max.map((x) => x + margin);
  // From the pinch point to the end of the fingers, along the gripper.
  const beyondM = FINGER.centreXM + FINGER.halfSizeM[0] - PINCH_OFFSET[0];
  const coordinate = (k: number, i: number) => min[k] + (max[k] - min[k]) * i / 4;
  for (let i = 0; i < 125; i++) {
    const position: Vec3 = [
      coordinate(0, i % 5),
      coordinate(1, Math.floor(i / 5) % 5),
      coordinate(2, Math.floor(i / 25)),
    ];
    const solution = solveIk("left", { position }, RESET_POSE_RAD);
    assert.ok(solution.isReached, `${position}: ${solution.positionErrorM} m are left`);
    solution.joints.forEach((q, j) => {
      assert.ok(q >= JOINT_RANGES_RAD[j].min && q <= JOINT_RANGES_RAD[j].max);
    });
    const pose = forwardKinematics("left", solution.joints);
    const fingertipZ = pose.position[2] + beyondM * pose.rotation[6];
    assert.ok(fingertipZ > 0.08, `${position}: a fingertip is at z = ${fingertipZ} m`);
    for (let j = 2; j < 6; j++) assert.ok(pose.jointPositions[3 * j + 2] > 0.08);
  }
});

Deno.test("solveIk() finds its way back to poses near the start, orientation included", () => {
  const offsets = fc.array(fc.double({ min: -0.25, max: 0.25, noNaN: true }), {
    minLength: 6,
    maxLength: 6,
  });
  fc.assert(
    fc.property(offsets, fc.constantFrom(...ARM_NAMES), (offset, arm) => {
      const wanted = forwardKinematics(arm, RESET_POSE_RAD.map((q, j) => q + offset[j]));
      const [x, y, z] = wanted.position;
      const column = (c: number): Vec3 => [
        wanted.rotation[c],
        wanted.rotation[3 + c],
        wanted.rotation[6 + c],
      ];
      const goal = { position: [x, y, z] as const, approach: column(0), opening: column(1) };
      const solution = solveIk(arm, goal, RESET_POSE_RAD);
      assert.ok(solution.isReached);
      const pose = forwardKinematics(arm, solution.joints);
      for (let k = 0; k < 3; k++) {
        assert.ok(Math.abs(pose.position[k] - wanted.position[k]) <= 1.1e-4);
      }
      for (let k = 0; k < 9; k++) {
        assert.ok(Math.abs(pose.rotation[k] - wanted.rotation[k]) < 5e-3);
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("solveIk() says what is left when a goal is out of reach", () => {
  const solution = solveIk("left", { position: [2, 0, 0.5] }, RESET_POSE_RAD);
  assert.equal(solution.isReached, false);
  assert.ok(solution.positionErrorM > 1);
  assert.ok(solution.joints.every(Number.isFinite));
});

Deno.test("solveIk() refuses a goal that is not a number or half an orientation", () => {
  assert.throws(() => solveIk("left", { position: [0, NaN, 0] }, RESET_POSE_RAD), RangeError);
  const goal = { position: [0, 0, 0.3], opening: [0, 1, 0] } as const;
  assert.throws(() => solveIk("left", goal, RESET_POSE_RAD), {
    name: "RangeError",
    message: /needs an approach/,
  });
});

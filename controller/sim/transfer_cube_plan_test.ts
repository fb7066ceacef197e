import assert from "node:assert/strict";
import type { Vec3 } from "../kinematics/arm_geometry.ts";
import { decide, GRASP_HEIGHT_M, MEETING_POINT, type Situation } from "./transfer_cube_plan.ts";

const CUBE: Vec3 = [0.1, 0.05, 0.02];
const FAR: Vec3 = [-0.3, 0, 0.3];

function situation(rightPinch: Vec3, rest: Partial<Situation> = {}): Situation {
  return { cube: CUBE, leftPinch: FAR, rightPinch, rightGripper: 1, ...rest };
}

Deno.test("decide() brings the right gripper over the cube, down, and closes it", () => {
  assert.equal(decide(situation([0.3, 0, 0.3])).name, "over");
  assert.equal(decide(situation([0.105, 0.05, 0.09])).name, "down");
  assert.equal(decide(situation([0.115, 0.05, 0.06])).name, "down");
  const grasp = decide(situation([0.102, 0.05, GRASP_HEIGHT_M]));
  assert.equal(grasp.name, "grasp");
  assert.ok(grasp.rightGripper < 0.5 && grasp.leftGripper === 1);
});

Deno.test("decide() goes up first when the gripper is low beside the cube", () => {
  const { name, right } = decide(situation([0.2, 0.05, 0.03]));
  assert.equal(name, "up");
  assert.deepEqual(right.position.slice(0, 2), [0.2, 0.05]);
  assert.equal(decide(situation([0.2, 0.05, 0.03])).rightGripper, 1);
});

Deno.test("decide() lifts what it holds, brings it, and lets the left gripper come last", () => {
  const held = (rightPinch: Vec3, leftPinch = FAR) =>
    decide(situation(rightPinch, { cube: rightPinch, leftPinch, rightGripper: 0.51 }));
  assert.equal(held([0.1, 0.05, 0.03]).name, "lift");
  const bring = held([0.1, 0.05, 0.11]);
  assert.equal(bring.name, "bring");
  assert.deepEqual(bring.right.position, MEETING_POINT);
  const take = held([0.01, -0.019, 0.3]);
  assert.equal(take.name, "take");
  assert.deepEqual(take.left.position.slice(1), MEETING_POINT.slice(1));
  assert.ok(take.left.position[0] < MEETING_POINT[0]);
  assert.equal(take.leftGripper, 1);
  assert.ok(held([0.01, -0.019, 0.3], [-0.015, -0.019, 0.3]).leftGripper < 0.5);
  assert.notDeepEqual(bring.left.position, take.left.position);
});

Deno.test("decide() keeps a cube that is held by its edge", () => {
  const byItsEdge = (rightGripper: number, offM: number) =>
    decide(situation([0.1, 0.05, 0.2], { cube: [0.1 + offM, 0.05, 0.19], rightGripper })).name;
  assert.equal(byItsEdge(0.47, 0.03), "bring");
  assert.equal(byItsEdge(0.31, 0.03), "over"); // nothing is between the fingers
  assert.equal(byItsEdge(0.65, 0.03), "over"); // they are open
  assert.equal(byItsEdge(0.47, 0.06), "over"); // something else is
});

Deno.test("decide() begins again when the cube is lost", () => {
  const lost = decide(situation([0, -0.019, 0.3], { rightGripper: 0.3 }));
  assert.equal(lost.name, "over");
  assert.equal(lost.rightGripper, 1);
});

Deno.test("decide() grasps too high by the bias", () => {
  const high: Vec3 = [0.1, 0.05, GRASP_HEIGHT_M + 0.03];
  assert.equal(decide(situation(high), 0.03).name, "grasp");
  assert.equal(decide(situation(high)).name, "down");
});

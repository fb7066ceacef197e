import assert from "node:assert/strict";
import fc from "fast-check";
import { Matrix } from "ml-matrix";
import { ARM_NAMES, type ArmName, JOINT_RANGES_RAD } from "../../common/robot/aloha.ts";
import { BASE_POSES, gripperToFingerM, LINKS, type Vec3 } from "../kinematics/arm_geometry.ts";
import {
  ARM_CAPSULES,
  CAPSULE_STRIDE,
  CAPSULES_PER_ARM,
  createPlacedCapsules,
  placeCapsules,
} from "./capsules.ts";

function translation([x, y, z]: Vec3): Matrix {
  return new Matrix([[1, 0, 0, x], [0, 1, 0, y], [0, 0, 1, z], [0, 0, 0, 1]]);
}

/** Rotation about an axis by its index, 0 x, 1 y, 2 z. */
function rotation(axis: 0 | 1 | 2, angle: number): Matrix {
  const matrix = Matrix.eye(4);
  const [i, j] = [(axis + 1) % 3, (axis + 2) % 3];
  matrix.set(i, i, Math.cos(angle));
  matrix.set(j, j, Math.cos(angle));
  matrix.set(i, j, -Math.sin(angle));
  matrix.set(j, i, Math.sin(angle));
  return matrix;
}

/** Frames of the base and the six links, as a textbook multiplies them. */
function linkFrames(arm: ArmName, joints: readonly number[]): Matrix[] {
  const { position, yawRad } = BASE_POSES[arm];
  const frames = [translation(position).mmul(rotation(2, yawRad))];
  LINKS.forEach(({ offset, axis }, i) => {
    frames.push(frames[i].mmul(translation(offset)).mmul(rotation(axis, joints[i])));
  });
  return frames;
}

const joint = JOINT_RANGES_RAD.map(({ min, max }) => fc.double({ min, max, noNaN: true }));

Deno.test("placeCapsules() agrees with the product of homogeneous transforms", () => {
  const placed = createPlacedCapsules();
  fc.assert(
    fc.property(
      fc.constantFrom(...ARM_NAMES),
      fc.tuple(...joint),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (arm, joints, gripper) => {
        placeCapsules(arm, [...joints, gripper], 0, placed);
        const frames = linkFrames(arm, joints);
        ARM_CAPSULES.forEach(({ name, link, from, to, fingerSide }, c) => {
          const moveM = fingerSide * gripperToFingerM(gripper);
          [from, to].forEach(([x, y, z], end) => {
            const world = frames[link + 1].mmul(Matrix.columnVector([x, y + moveM, z, 1]));
            const at = (ARM_NAMES.indexOf(arm) * CAPSULES_PER_ARM + c) * CAPSULE_STRIDE + 3 * end;
            for (let k = 0; k < 3; k++) {
              const gap = Math.abs(placed.segments[at + k] - world.get(k, 0));
              assert.ok(gap < 1e-12, `${arm} ${name}, end ${end}, axis ${k}: ${gap} m`);
            }
          });
        });
      },
    ),
    { numRuns: 200 },
  );
});

import assert from "node:assert/strict";
import loadModule from "@mujoco/mujoco";
import fc from "fast-check";
import { Matrix } from "ml-matrix";
import {
  ARM_NAMES,
  JOINT_RANGES_RAD,
  resetState,
  SLEEP_POSE_RAD,
} from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { SimulatedAloha } from "../sim/aloha_sim.ts";
import { BASE_POSES, gripperToFingerM, LINKS } from "../kinematics/arm_geometry.ts";
import { createDemonstrator } from "../sim/demonstrator.ts";
import { loadMujoco, PhysicsData } from "../sim/mujoco.ts";
import { sceneXml } from "../sim/scene.ts";
import {
  ARM_CAPSULES,
  CAPSULE_STRIDE,
  CAPSULES_PER_ARM,
  type CapsuleShape,
  createPlacedCapsules,
  placeCapsules,
  segmentDistance,
} from "./capsules.ts";
import { DEFAULT_LIMITS } from "./default_limits.ts";
import { createWorkspaceCheck, REACH_M } from "./workspace.ts";

/** Both arms anywhere within their ranges. */
function randomPose(random: () => number): Float64Array {
  const arm = () => [
    ...JOINT_RANGES_RAD.map(({ min, max }) => uniform(random, min, max)),
    random(),
  ];
  return Float64Array.from([...arm(), ...arm()]);
}

/** The scene's positions for 14 numbers: each gripper is two fingers. */
function toQpos(joints: ArrayLike<number>): number[] {
  return [0, 7].flatMap((at) => {
    const finger = gripperToFingerM(joints[at + 6]);
    return [...Array.from({ length: 6 }, (_, i) => joints[at + i]), finger, finger];
  });
}

function placeBoth(joints: ArrayLike<number>) {
  const placed = createPlacedCapsules();
  placeCapsules("left", joints, 0, placed);
  placeCapsules("right", joints, 7, placed);
  return placed.segments;
}

/** Name of the scene's body that carries a capsule. */
function bodyOf(arm: string, { link, fingerSide }: CapsuleShape): string {
  if (fingerSide !== 0) return `${arm}_finger_${fingerSide === 1 ? "a" : "b"}`;
  return link < 0 ? `${arm}_base` : `${arm}_${LINKS[link].name}`;
}

/** The scene with every capsule as a geom of the body that carries it. */
function sceneWithCapsules(): string {
  let xml = sceneXml("reach");
  for (const arm of ARM_NAMES) {
    ARM_CAPSULES.forEach((shape, i) => {
      const geom = `<geom name="${arm}_capsule_${i}" type="capsule" contype="0" conaffinity="0"
        fromto="${shape.from.join(" ")} ${shape.to.join(" ")}" size="${shape.radiusM}"/>`;
      const tag = new RegExp(`(<body name="${bodyOf(arm, shape)}"[^>]*>)`);
      assert.match(xml, tag);
      xml = xml.replace(tag, `$1${geom}`);
    });
  }
  return xml;
}

Deno.test("placeCapsules() and segmentDistance() agree with mj_geomDistance to 1 µm", async () => {
  const mujoco = await loadModule();
  const model = mujoco.MjModel.from_xml_string(sceneWithCapsules());
  const data = new mujoco.MjData(model);
  try {
    const type = mujoco.mjtObj.mjOBJ_GEOM.value;
    const ids = ARM_NAMES.flatMap((arm) =>
      ARM_CAPSULES.map((_, i) => mujoco.mj_name2id(model, type, `${arm}_capsule_${i}`))
    );
    const table = mujoco.mj_name2id(model, type, "table_contact");
    const random = seededRandom(1);
    let overlaps = 0, worstM = 0;
    for (let n = 0; n < 60; n++) {
      const joints = randomPose(random);
      // Every other pose stretches both arms towards each other.
      if (n % 2 === 1) joints.set([uniform(random, -0.3, 0.3), 0.4, -0.4], 0);
      if (n % 2 === 1) joints.set([uniform(random, -0.3, 0.3), 0.4, -0.4], 7);
      data.qpos.set(toQpos(joints), 0);
      mujoco.mj_forward(model, data);
      const segments = placeBoth(joints);
      for (let i = 0; i < CAPSULES_PER_ARM; i++) {
        for (let j = CAPSULES_PER_ARM; j < 2 * CAPSULES_PER_ARM; j++) {
          const ours = segmentDistance(segments, CAPSULE_STRIDE * i, CAPSULE_STRIDE * j) -
            ARM_CAPSULES[i].radiusM - ARM_CAPSULES[j - CAPSULES_PER_ARM].radiusM;
          const theirs = mujoco.mj_geomDistance(model, data, ids[i], ids[j], 10, null);
          if (ours < 0) overlaps++;
          worstM = Math.max(worstM, Math.abs(ours - theirs));
        }
        const at = CAPSULE_STRIDE * i;
        const low = Math.min(segments[at + 2], segments[at + 5]) - ARM_CAPSULES[i].radiusM;
        const theirs = mujoco.mj_geomDistance(model, data, table, ids[i], 10, null);
        worstM = Math.max(worstM, Math.abs(low - theirs));
      }
    }
    assert.ok(overlaps > 0, "some poses must overlap, or the test shows less than it says");
    assert.ok(worstM < 1e-6, `differs by ${worstM} m`);
  } finally {
    data.delete();
    model.delete();
  }
});

/** A random point on the surface of a box, cylinder or capsule, in the geom's frame. */
function surfacePoint(type: number, size: ArrayLike<number>, random: () => number): number[] {
  const either = () => random() < 0.5 ? -1 : 1;
  const angle = uniform(random, 0, 2 * Math.PI);
  if (type === 6) {
    const point = [0, 1, 2].map((k) =>
      size[k] * (random() < 0.4 ? either() : uniform(random, -1, 1))
    );
    const face = Math.floor(3 * random());
    point[face] = size[face] * either();
    return point;
  }
  if (type === 5) {
    const z = size[1] * (random() < 0.5 ? either() : uniform(random, -1, 1));
    return [size[0] * Math.cos(angle), size[0] * Math.sin(angle), z];
  }
  assert.equal(type, 3);
  const up = uniform(random, -1, 1), ring = Math.sqrt(1 - up * up);
  const z = size[1] * either() + size[0] * up;
  return [size[0] * ring * Math.cos(angle), size[0] * ring * Math.sin(angle), z];
}

Deno.test("ARM_CAPSULES cover every shape of the scene's arms, wherever they are", async () => {
  const mujoco = await loadMujoco();
  using model = mujoco.compile(sceneXml("reach"));
  using data = new PhysicsData(model);
  const random = seededRandom(2);
  const { geomType, geomSize, geomBody, bodyParent } = model.arrays;
  const bases = ARM_NAMES.map((arm) => model.id("body", `${arm}_base`));
  const armOf = (body: number): number => {
    for (let b = body; b > 0; b = bodyParent[b]) if (bases.includes(b)) return bases.indexOf(b);
    return -1;
  };
  let points = 0, worstM = -Infinity, worst = "";
  for (let n = 0; n < 30; n++) {
    const joints = randomPose(random);
    data.views.qpos.set(toQpos(joints));
    data.updatePoses();
    const segments = placeBoth(joints);
    for (let geom = 0; geom < geomType.length; geom++) {
      const arm = armOf(geomBody[geom]);
      if (arm < 0) continue;
      const { geomXpos: x, geomXmat: r } = data.views;
      for (let k = 0; k < 20; k++) {
        const q = surfacePoint(geomType[geom], geomSize.subarray(3 * geom, 3 * geom + 3), random);
        const point = [0, 1, 2].map((row) =>
          x[3 * geom + row] + [0, 1, 2].reduce((s, c) => s + r[9 * geom + 3 * row + c] * q[c], 0)
        );
        const outsideM = Math.min(...ARM_CAPSULES.map((shape, i) => {
          const at = (arm * CAPSULES_PER_ARM + i) * CAPSULE_STRIDE;
          const probe = new Float64Array([...segments.subarray(at, at + 6), ...point, ...point]);
          probe[9] += 1e-9;
          return segmentDistance(probe, 0, 6) - shape.radiusM;
        }));
        points++;
        if (outsideM > worstM) [worstM, worst] = [outsideM, `geom ${geom} at ${q}`];
      }
    }
  }
  assert.ok(points > 5000);
  assert.ok(worstM < 1e-6, `${worst} is ${worstM} m outside`);
});

Deno.test("placeCapsules() agrees with products of homogeneous matrices", () => {
  const turn = (axis: number, angle: number): Matrix => {
    const m = Matrix.eye(4), u = (axis + 1) % 3, v = (axis + 2) % 3;
    m.set(u, u, Math.cos(angle)).set(v, v, Math.cos(angle));
    return m.set(u, v, -Math.sin(angle)).set(v, u, Math.sin(angle));
  };
  const shift = (by: ArrayLike<number>): Matrix => {
    const m = Matrix.eye(4);
    for (let k = 0; k < 3; k++) m.set(k, 3, by[k]);
    return m;
  };
  const joints = randomPose(seededRandom(3));
  const segments = placeBoth(joints);
  ARM_NAMES.forEach((arm, a) => {
    const frames = [shift(BASE_POSES[arm].position).mmul(turn(2, BASE_POSES[arm].yawRad))];
    LINKS.forEach(({ offset, axis }, i) =>
      frames.push(frames[i].mmul(shift(offset)).mmul(turn(axis, joints[7 * a + i])))
    );
    ARM_CAPSULES.forEach((shape, i) => {
      const y = shape.fingerSide * gripperToFingerM(joints[7 * a + 6]);
      [shape.from, shape.to].forEach((end, e) => {
        const point = frames[shape.link + 1].mmul(
          Matrix.columnVector([end[0], end[1] + y, end[2], 1]),
        );
        const at = (a * CAPSULES_PER_ARM + i) * CAPSULE_STRIDE + 3 * e;
        for (let k = 0; k < 3; k++) assert.ok(Math.abs(segments[at + k] - point.get(k, 0)) < 1e-12);
      });
    });
  });
});

Deno.test("segmentDistance() is the smallest distance of points on both segments", () => {
  const coordinate = fc.double({ min: -1, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(coordinate, { minLength: 12, maxLength: 12 }), (numbers) => {
      const s = Float64Array.from(numbers);
      fc.pre(Math.hypot(s[3] - s[0], s[4] - s[1], s[5] - s[2]) > 1e-3);
      fc.pre(Math.hypot(s[9] - s[6], s[10] - s[7], s[11] - s[8]) > 1e-3);
      let sampled = Infinity;
      for (let i = 0; i <= 40; i++) {
        for (let j = 0; j <= 40; j++) {
          const d = [0, 1, 2].map((k) =>
            s[k] + (s[k + 3] - s[k]) * i / 40 - s[k + 6] - (s[k + 9] - s[k + 6]) * j / 40
          );
          sampled = Math.min(sampled, Math.hypot(d[0], d[1], d[2]));
        }
      }
      const exact = segmentDistance(s, 0, 6);
      assert.ok(exact <= sampled + 1e-6, `${exact} above ${sampled}`);
      assert.ok(exact >= sampled - 0.1, `${exact} far below ${sampled}`);
      assert.ok(Math.abs(exact - segmentDistance(s, 6, 0)) < 1e-6);
    }),
    { numRuns: 100 },
  );
});

Deno.test("segmentDistance() knows parallel segments, beside and behind each other", () => {
  const distance = (...numbers: number[]) => segmentDistance(Float64Array.from(numbers), 0, 6);
  assert.equal(distance(0, 0, 0, 1, 0, 0, 0.2, 3, 0, 5, 3, 0), 3);
  assert.equal(distance(0, 0, 0, 1, 0, 0, 3, 0, 0, 5, 0, 0), 2);
  assert.equal(distance(0, 0, 0, 1, 0, 0, 5, 0, 0, 3, 0, 0), 2);
  assert.equal(distance(0, 0, 0, 1, 0, 0, 0.5, -1, 0, 0.5, 1, 0), 0);
});

Deno.test("checkWorkspace() compares every pair that matters, whatever it skips", () => {
  const check = createWorkspaceCheck({
    ...DEFAULT_LIMITS.workspace,
    tableClearanceM: 0,
    fingerTableClearanceM: 0,
    armClearanceM: 0,
    fingerClearanceM: 0,
    selfClearanceM: 0,
  });
  const random = seededRandom(4);
  const kinds = new Set<string>();
  for (let n = 0; n < 300; n++) {
    const joints = randomPose(random);
    const segments = placeBoth(joints);
    let best = Infinity;
    const gap = (i: number, j: number) =>
      segmentDistance(segments, CAPSULE_STRIDE * i, CAPSULE_STRIDE * j) -
      ARM_CAPSULES[i % CAPSULES_PER_ARM].radiusM - ARM_CAPSULES[j % CAPSULES_PER_ARM].radiusM;
    for (let i = 0; i < 2 * CAPSULES_PER_ARM; i++) {
      const shape = ARM_CAPSULES[i % CAPSULES_PER_ARM];
      const at = CAPSULE_STRIDE * i;
      if (shape.role !== "fixed") {
        best = Math.min(best, segments[at + 2] - shape.radiusM, segments[at + 5] - shape.radiusM);
      }
      const own = i < CAPSULES_PER_ARM ? 0 : CAPSULES_PER_ARM;
      if (shape.role === "gripper" || shape.role === "finger") {
        for (const link of [0, 1, 2]) best = Math.min(best, gap(i, own + link));
      }
      for (let j = CAPSULES_PER_ARM; i < CAPSULES_PER_ARM && j < 2 * CAPSULES_PER_ARM; j++) {
        const isFixed = shape.role === "fixed" &&
          ARM_CAPSULES[j - CAPSULES_PER_ARM].role === "fixed";
        if (!isFixed) best = Math.min(best, gap(i, j));
      }
    }
    const { slackM, isClear, nearest } = check(joints);
    assert.ok(Math.abs(slackM - best) < 1e-12, `${slackM} is not ${best}`);
    assert.equal(isClear, best >= 0);
    assert.equal(nearest.distanceM, slackM);
    kinds.add(nearest.what.includes("table") ? "table" : nearest.what.replace(/ \w+ .* to /, " "));
  }
  assert.ok(kinds.size > 3, [...kinds].join());
});

Deno.test("checkWorkspace() names what is in the way", () => {
  const check = createWorkspaceCheck(DEFAULT_LIMITS.workspace);
  assert.ok(check(resetState()).isClear);
  assert.ok(check([...SLEEP_POSE_RAD, 0, ...SLEEP_POSE_RAD, 0]).isClear);
  const down = [0, 1.2, 0.3, 0, 0.5, 0, 0];
  const low = check([...down, ...SLEEP_POSE_RAD, 0]);
  assert.equal(low.isClear, false);
  assert.match(low.nearest.what, /^left .* to the table$/);
  assert.ok(low.nearest.distanceM < 0.02);
  // Both arms stretched out at each other, level.
  const out = [0, 0.3, -0.3, 0, 0, 0, 0];
  const met = check([...out, ...out]);
  assert.equal(met.isClear, false);
  assert.match(met.nearest.what, /^left .* to right /);
  // Folded onto itself.
  const folded = [0, -1.2, 1.5, 0, 1.3, 0, 0];
  const self = check([...folded, ...SLEEP_POSE_RAD, 0]);
  assert.equal(self.isClear, false);
  assert.match(self.nearest.what, /^left .* to left /);
});

Deno.test("checkWorkspace() is never clear for NaN, and refuses a wrong length", () => {
  const check = createWorkspaceCheck(DEFAULT_LIMITS.workspace);
  for (let i = 0; i < 14; i++) {
    const joints = resetState();
    joints[i] = NaN;
    assert.equal(check(joints).isClear, false, `number ${i}`);
  }
  assert.ok(check(resetState()).isClear, "recovers");
  assert.throws(() => check(new Float64Array(7)), /there are 7 joints, expected 14/);
});

Deno.test("REACH_M bounds how far a joint moves any capsule", () => {
  const random = seededRandom(5);
  for (let n = 0; n < 200; n++) {
    const joints = randomPose(random);
    const before = placeBoth(joints).slice();
    const j = n % 7, change = uniform(random, -0.2, 0.2);
    const moved = Float64Array.from(joints);
    moved[j] += change;
    const after = placeBoth(moved);
    for (let at = 0; at < CAPSULES_PER_ARM * CAPSULE_STRIDE; at += 3) {
      const distance = Math.hypot(
        after[at] - before[at],
        after[at + 1] - before[at + 1],
        after[at + 2] - before[at + 2],
      );
      assert.ok(distance <= REACH_M[j] * Math.abs(change) + 1e-12, `joint ${j}`);
    }
  }
});

Deno.test("the default clearances leave room for both tasks as they are demonstrated", async () => {
  const check = createWorkspaceCheck(DEFAULT_LIMITS.workspace);
  for (const task of ["reach", "transfer_cube"] as const) {
    using robot = await SimulatedAloha.create({ task, imageSize: 8, startNoiseRad: 0.02 });
    const demonstrator = createDemonstrator(robot);
    for (let seed = 0; seed < 4; seed++) {
      robot.resetSync(seed);
      demonstrator.reset();
      while (!robot.hasEnded) {
        const action = demonstrator.act();
        const { isClear, nearest } = check(action);
        assert.ok(isClear, `${task} ${seed}: ${nearest.what} at ${nearest.distanceM} m`);
        robot.stepSync(action);
      }
    }
  }
});

Deno.test("checkWorkspace() takes less than 100 µs", () => {
  const check = createWorkspaceCheck(DEFAULT_LIMITS.workspace);
  const random = seededRandom(6);
  const poses = Array.from({ length: 200 }, () => randomPose(random));
  const microseconds = Array.from({ length: 30 }, () => {
    const start = performance.now();
    for (const pose of poses) check(pose);
    return (performance.now() - start) * 1000 / poses.length;
  }).sort((a, b) => a - b);
  // The median, so that a busy machine does not decide.
  assert.ok(microseconds[15] < 100, `${microseconds[15]} µs`);
});

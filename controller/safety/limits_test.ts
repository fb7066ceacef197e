import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { JOINT_RANGES_RAD, RESET_POSE_RAD, SLEEP_POSE_RAD } from "../../common/robot/aloha.ts";
import { DEFAULT_LIMITS, HARD_LIMITS, SERVO_VELOCITY_RAD_S } from "./default_limits.ts";
import { loadLimits, MOVING_NAMES, namedLimits, parseLimits } from "./limits.ts";

/** A copy of the defaults as JSON, to be damaged. */
function json(): Record<string, unknown> {
  return JSON.parse(JSON.stringify(DEFAULT_LIMITS));
}

/** Set `a.b.c` of a tree. */
function set(tree: Record<string, unknown>, path: string, value: unknown): typeof tree {
  const names = path.split(".");
  const parent = names.slice(0, -1).reduce(
    (node, name) => node[name] as Record<string, unknown>,
    tree,
  );
  const last = names[names.length - 1];
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return tree;
}

/** Path in the file of a limit's name. */
function pathOf(name: string): string {
  return /^(left|right)\./.test(name) ? `arms.${name}` : name;
}

const NAMES = [...namedLimits(DEFAULT_LIMITS).keys()];

Deno.test("the default limits pass their own schema, without any widening", () => {
  assert.deepEqual(parseLimits(json()), { limits: DEFAULT_LIMITS, widenings: [] });
  assert.equal(NAMES.length, 2 * 7 * 6 + 6 + 1);
});

Deno.test("the default limits are inside the robot's ranges and hold its poses", () => {
  assert.ok(Math.abs(SERVO_VELOCITY_RAD_S - Math.PI) < 1e-3);
  JOINT_RANGES_RAD.forEach(({ min, max }, i) => {
    const joint = DEFAULT_LIMITS.arms.right[MOVING_NAMES[i]];
    assert.ok(joint.positionMin > min && joint.positionMax < max);
    for (const pose of [RESET_POSE_RAD, SLEEP_POSE_RAD]) {
      assert.ok(pose[i] > joint.positionMin && pose[i] < joint.positionMax);
    }
    assert.ok(joint.velocity < HARD_LIMITS.joints[MOVING_NAMES[i]].velocity);
    assert.ok(Math.abs(joint.step - joint.velocity * DEFAULT_LIMITS.maxCycleS) < 1e-12);
  });
});

Deno.test("parseLimits() refuses every missing field, null, NaN, infinity and text", () => {
  for (const name of NAMES) {
    for (const bad of [undefined, null, NaN, Infinity, -Infinity, "1", 1e9, -1e9]) {
      const path = pathOf(name);
      assert.throws(() => parseLimits(set(json(), path, bad)), (error: Error) => {
        assert.equal(error.name, "TypeError", `${path} = ${bad}`);
        assert.ok(error.message.includes(path), error.message);
        return true;
      });
    }
  }
  assert.throws(() => parseLimits(set(json(), "acknowledgedWidenings", undefined)), TypeError);
});

Deno.test("parseLimits() refuses unknown fields and an empty range", () => {
  assert.throws(() => parseLimits({ ...json(), force: true }), /Unrecognized key: "force"/);
  assert.throws(() => parseLimits(set(json(), "arms.left.waist.jerk", 1)), /jerk/);
  const empty = set(json(), "arms.left.waist.positionMin", 1);
  assert.throws(
    () => parseLimits(set(empty, "arms.left.waist.positionMax", 0.5)),
    /arms.left.waist: positionMin must be below positionMax/,
  );
  for (const value of [null, 1, [], "limits", undefined]) {
    assert.throws(() => parseLimits(value), /Cannot use the safety limits/);
  }
});

Deno.test("parseLimits() lets nothing be wider silently", () => {
  const wide = set(json(), "arms.left.waist.velocity", 3);
  assert.throws(
    () => parseLimits(wide),
    { name: "RangeError", message: /left\.waist\.velocity is 3, the default is 1\.88/ },
  );
  const known = set(wide, "acknowledgedWidenings", ["left.waist.velocity"]);
  const { limits, widenings } = parseLimits(known);
  assert.equal(limits.arms.left.waist.velocity, 3);
  assert.deepEqual(widenings, [{
    name: "left.waist.velocity",
    value: 3,
    defaultValue: DEFAULT_LIMITS.arms.left.waist.velocity,
  }]);
});

Deno.test("parseLimits() knows the wider direction of every limit", () => {
  for (const name of NAMES) {
    const path = pathOf(name);
    const value = namedLimits(DEFAULT_LIMITS).get(name) as number;
    const results = [value - 1e-4, value + 1e-4].map((changed) => {
      try {
        return parseLimits(set(json(), path, changed)).widenings.length;
      } catch (error) {
        return (error as Error).message.includes(name) ? "refused" : `${error}`;
      }
    });
    const isLowerWider = /positionMin|Clearance|tableHeight/.test(name);
    assert.deepEqual(results, isLowerWider ? ["refused", 0] : [0, "refused"], name);
  }
});

Deno.test("parseLimits() refuses an acknowledgement that fits nothing", () => {
  const idle = set(json(), "acknowledgedWidenings", ["left.waist.speed", "maxCycleS"]);
  assert.throws(
    () => parseLimits(idle),
    /acknowledgedWidenings names left\.waist\.speed, maxCycleS, which are not wider/,
  );
});

Deno.test("parseLimits() allows no acknowledgement beyond the servo and the range", () => {
  const beyond = [
    ["left.waist.velocity", 3.2],
    ["right.elbow.positionMax", 1.7],
    ["left.gripper.positionMin", -0.1],
    ["workspace.tableClearanceM", -0.01],
  ] as const;
  for (const [name, value] of beyond) {
    const tree = set(json(), pathOf(name), value);
    assert.throws(() => parseLimits(set(tree, "acknowledgedWidenings", [name])), TypeError);
  }
});

Deno.test("parseLimits() throws nothing but TypeError and RangeError, for any JSON", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...NAMES), (value, name) => {
      for (const tree of [value, set(json(), pathOf(name), value)]) {
        try {
          parseLimits(tree);
        } catch (error) {
          assert.ok(error instanceof TypeError || error instanceof RangeError);
        }
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("loadLimits() reads a file, and takes the defaults without one", async () => {
  assert.deepEqual(await loadLimits(null), { limits: DEFAULT_LIMITS, widenings: [] });
  const folder = await Deno.makeTempDir({ prefix: "tendon_limits_" });
  try {
    const path = join(folder, "limits.json");
    const narrow = set(json(), "arms.right.gripper.velocity", 0.5);
    await Deno.writeTextFile(path, JSON.stringify(narrow));
    const { limits, widenings } = await loadLimits(path);
    assert.equal(limits.arms.right.gripper.velocity, 0.5);
    assert.deepEqual(widenings, []);
    await Deno.writeTextFile(path, "{");
    await assert.rejects(loadLimits(path), { name: "SyntaxError", message: /is not JSON/ });
    await assert.rejects(loadLimits(join(folder, "absent.json")), Deno.errors.NotFound);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import assert from "node:assert/strict";
import fc from "fast-check";
import { ALOHA_DIM, resetState, SLEEP_POSE_RAD } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { CLAMP_BIT } from "./clamp_counts.ts";
import { filterCommand } from "./command_filter.ts";
import { DEFAULT_LIMITS } from "./default_limits.ts";
import { createFilterState, restartFilter } from "./filter_state.ts";
import type { SafetyLimits } from "./limits.ts";

const DT = 0.02;
const WAIST = DEFAULT_LIMITS.arms.left.waist;

/** Send the same command often; the left waist's positions. */
function waistPath(state: ReturnType<typeof createFilterState>, waist: number, commands: number) {
  const command = Float64Array.from(state.position);
  command[0] = waist;
  return Array.from({ length: commands }, () => filterCommand(state, command, DT).action[0]);
}

Deno.test("filterCommand() passes a slow smooth command unchanged and counts nothing", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const command = resetState();
  for (let n = 0; n < 400; n++) {
    // 0.25 Hz: at most 0.47 rad/s and 0.74 rad/s², starting at rest.
    const phase = 2 * Math.PI * 0.25 * n * DT;
    command[0] = 0.3 * (1 - Math.cos(phase));
    command[4] = -0.3 + 0.1 * (1 - Math.cos(phase));
    command[6] = 0.2 * (1 - Math.cos(phase));
    const { action, clamps } = filterCommand(state, command, DT);
    assert.equal(clamps.isClamped, false, `command ${n}: ${clamps.masks}`);
    for (let i = 0; i < ALOHA_DIM; i++) assert.ok(Math.abs(action[i] - command[i]) < 1e-5);
  }
  assert.equal(state.counts.snapshot().clampedCommands, 0);
});

Deno.test("filterCommand() reaches a far target without overshooting it", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const path = waistPath(state, 1, 150);
  for (let n = 1; n < path.length; n++) assert.ok(path[n] >= path[n - 1] - 1e-12);
  assert.ok(Math.max(...path) <= 1 + 1e-9);
  assert.ok(Math.abs(path[149] - 1) < 1e-4, `${path[149]}`);
  const fastest = Math.max(...path.map((p, n) => n === 0 ? 0 : (p - path[n - 1]) / DT));
  assert.ok(fastest > 0.9 * WAIST.velocity, `${fastest} rad/s is no fast way`);
});

Deno.test("filterCommand() brakes before the position limit, from full speed", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const path = waistPath(state, 1e300, 400);
  assert.ok(Math.max(...path) <= WAIST.positionMax);
  assert.ok(Math.abs(path[399] - WAIST.positionMax) < 1e-3);
  const { byJoint } = state.counts.snapshot();
  assert.equal(byJoint.left_waist.position, 400);
  assert.ok((byJoint.left_waist.velocity as number) > 0);
  assert.ok((byJoint.left_waist.acceleration as number) > 0);
});

Deno.test("filterCommand() holds on NaN and infinity: it brakes, and never goes to zero", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    const state = createFilterState(DEFAULT_LIMITS, resetState());
    waistPath(state, 3, 40);
    const speed = state.velocity[0], from = state.position[0];
    assert.ok(speed > 1);
    const command = new Float64Array(ALOHA_DIM);
    command[9] = bad;
    const first = filterCommand(state, command, DT);
    assert.equal(first.clamps.hold, "not_finite");
    assert.equal(first.clamps.masks[9], CLAMP_BIT.not_finite);
    assert.equal(first.clamps.masks.filter((mask) => mask !== 0).length, 1);
    for (let n = 0; n < 40; n++) filterCommand(state, command, DT);
    const braking = speed * speed / (2 * WAIST.acceleration);
    assert.ok(state.position[0] > from && state.position[0] <= from + braking);
    assert.equal(state.velocity[0], 0);
    // The other joints never moved, and zero was never commanded.
    for (let i = 1; i < ALOHA_DIM; i++) assert.equal(state.position[i], resetState()[i]);
    assert.equal(state.counts.snapshot().byJoint.right_elbow.not_finite, 41);
  }
});

Deno.test("filterCommand() refuses a wrong length and a wrong time, and changes nothing then", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const before = [...state.position];
  assert.throws(
    () => filterCommand(state, new Float64Array(7), DT),
    { name: "RangeError", message: /command of 7 numbers, expected 14/ },
  );
  assert.throws(() => filterCommand(state, [], DT), RangeError);
  for (const dt of [0, -0.02, NaN, Infinity]) {
    assert.throws(() => filterCommand(state, resetState(1), dt), RangeError);
  }
  assert.deepEqual([...state.position], before);
  assert.equal(state.counts.snapshot().commands, 0);
});

Deno.test("filterCommand() never makes up for a late command", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  waistPath(state, 3, 60);
  const from = state.position[0];
  const command = Float64Array.from(state.position);
  command[0] = 3;
  const { action } = filterCommand(state, command, 60);
  assert.ok(action[0] - from <= WAIST.step + 1e-12, `${action[0] - from} rad at once`);
});

Deno.test("filterCommand() stops above the table and says what is in the way", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const command = resetState();
  command[1] = 1.2;
  let held = 0;
  for (let n = 0; n < 300; n++) {
    const { action, clamps } = filterCommand(state, command, DT);
    assert.ok(state.checkWorkspace(action).isClear, `command ${n}`);
    if (clamps.hold !== "workspace") continue;
    held++;
    assert.match(clamps.obstacle, /^left .* to the table$/);
    assert.ok(Number.isFinite(clamps.obstacleDistanceM));
  }
  assert.ok(held > 100);
  assert.equal(state.counts.snapshot().byJoint.robot.workspace, held);
  assert.ok(state.checkWorkspace(state.position).slackM < 0.02, "it came near, all the same");
  // The way back is free.
  for (let n = 0; n < 300; n++) filterCommand(state, resetState(), DT);
  assert.ok(Math.abs(state.position[1] - resetState()[1]) < 1e-3);
});

Deno.test("filterCommand() lets an arm out of a forbidden place, and not farther in", () => {
  // The left arm was moved onto the table by hand.
  const start = resetState();
  start.set([0, 0.9, 0.5, 0, 0.3, 0], 0);
  const state = createFilterState(DEFAULT_LIMITS, start);
  const inside = state.slackM;
  assert.ok(inside < -0.005, `${inside}`);
  const farther = start.slice();
  farther[1] = 1.2;
  for (let n = 0; n < 50; n++) {
    filterCommand(state, farther, DT);
    assert.ok(state.slackM >= inside, `${state.slackM} m, from ${inside} m`);
  }
  for (let n = 0; n < 300; n++) filterCommand(state, resetState(), DT);
  assert.ok(state.slackM > 0);
  assert.ok(Math.abs(state.position[1] - resetState()[1]) < 1e-3);
});

Deno.test("filterCommand() leads a joint back that rests outside its limits", () => {
  const start = resetState();
  start.set(SLEEP_POSE_RAD, 0);
  const { positionMin } = DEFAULT_LIMITS.arms.left.shoulder;
  start[1] = positionMin - 0.03;
  const state = createFilterState(DEFAULT_LIMITS, start);
  const farther = start.slice();
  farther[1] = -5;
  let last = start[1];
  for (let n = 0; n < 100; n++) {
    const { action } = filterCommand(state, farther, DT);
    assert.ok(action[1] >= last - 1e-12 && action[1] <= positionMin + 1e-12);
    last = action[1];
  }
  assert.ok(Math.abs(last - positionMin) < 1e-4);
});

Deno.test("filterCommand() without a command brakes within v²/2a, turns no joint round, then stands", () => {
  const cycles = fc.array(fc.double({ min: 0.002, max: 0.03, noNaN: true }), { minLength: 300 });
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 60 }), cycles, (seed, before, dts) => {
      const state = createFilterState(DEFAULT_LIMITS, resetState());
      const random = seededRandom(seed);
      const command = resetState();
      for (let n = 0; n < before; n++) {
        if (n % 10 === 0) {
          for (let i = 0; i < ALOHA_DIM; i++) command[i] += uniform(random, -1, 1);
        }
        filterCommand(state, command, DT);
      }
      const from = state.position.slice(), speed = state.velocity.slice();
      const clamped = state.counts.snapshot().clampedCommands;
      let last = from.slice();
      for (const dt of dts) {
        const { action, clamps } = filterCommand(state, null, dt);
        assert.ok(!clamps.isClamped && clamps.hold === null);
        for (let i = 0; i < ALOHA_DIM; i++) {
          assert.ok((action[i] - last[i]) * Math.sign(speed[i]) >= 0);
          if (speed[i] === 0) assert.equal(action[i], from[i]);
          const braking = speed[i] ** 2 / (2 * state.arrays.acceleration[i]);
          assert.ok(Math.abs(action[i] - from[i]) <= braking + 1e-9);
        }
        last = action.slice();
      }
      assert.ok(state.velocity.every((v) => v === 0));
      assert.equal(state.counts.snapshot().clampedCommands, clamped);
    }),
    { numRuns: 15 },
  );
});

Deno.test("createFilterState() wants 14 finite numbers", () => {
  assert.throws(() => createFilterState(DEFAULT_LIMITS, new Float64Array(7)), RangeError);
  const broken = resetState();
  broken[3] = NaN;
  assert.throws(() => createFilterState(DEFAULT_LIMITS, broken), /left_forearm_roll is NaN/);
});

/** Limits of one joint, anything that the schema allows. */
const anyLimits = fc.record({
  velocity: fc.double({ min: 0.01, max: 3, noNaN: true }),
  acceleration: fc.double({ min: 0.5, max: 60, noNaN: true }),
  step: fc.double({ min: 1e-4, max: 0.2, noNaN: true }),
});

Deno.test("filterCommand() keeps any limits, for any commands in cycles of any length", () => {
  fc.assert(
    fc.property(anyLimits, fc.integer(), (custom, seed) => {
      const waist = { ...WAIST, ...custom };
      const arms = { ...DEFAULT_LIMITS.arms, left: { ...DEFAULT_LIMITS.arms.left, waist } };
      const limits: SafetyLimits = { ...DEFAULT_LIMITS, arms };
      const state = createFilterState(limits, resetState());
      const random = seededRandom(seed);
      const command = resetState();
      let position = command[0], velocity = 0;
      for (let n = 0; n < 150; n++) {
        if (random() < 0.1) command[0] = uniform(random, -6, 6);
        if (random() < 0.03) command[0] = NaN;
        const late = uniform(random, 1e-4, 0.05);
        const { action } = filterCommand(state, command, late);
        const dt = Math.min(late, limits.maxCycleS);
        const step = action[0] - position, next = step / dt;
        assert.ok(Math.abs(step) <= waist.step * (1 + 1e-9));
        assert.ok(Math.abs(next) <= waist.velocity * (1 + 1e-9) + 1e-9);
        assert.ok(Math.abs(next - velocity) / dt <= waist.acceleration * (1 + 1e-6) + 1e-6);
        assert.ok(action[0] <= waist.positionMax && action[0] >= waist.positionMin);
        [position, velocity] = [action[0], next];
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("filterCommand() reuses its answer and its buffers", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const first = filterCommand(state, resetState(), DT);
  const { action, clamps } = first;
  const second = filterCommand(state, resetState(1), DT);
  assert.ok(second === first && second.action === action && second.clamps === clamps);
  assert.equal(clamps.masks[6] !== 0, true);
});

Deno.test("filterCommand() stands cycles of hardly any length, fast towards the table", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  const command = resetState();
  command[1] = 1.2;
  for (let n = 0; n < 25; n++) filterCommand(state, command, DT);
  assert.ok(state.velocity[1] > 1);
  for (const dt of [1e-6, 1e-9, 1e-300, 5e-324, DT]) {
    const { action } = filterCommand(state, command, dt);
    assert.ok(action.every(Number.isFinite), `${dt} s`);
  }
});

Deno.test("restartFilter() goes on from a measured pose, at rest, with the same counts", () => {
  const state = createFilterState(DEFAULT_LIMITS, resetState());
  waistPath(state, 3, 30);
  const { commands } = state.counts.snapshot();
  const moved = resetState();
  moved[0] = -0.5;
  restartFilter(state, moved);
  const { action } = filterCommand(state, moved, DT);
  assert.ok(Math.abs(action[0] + 0.5) < 1e-9);
  assert.equal(state.counts.snapshot().commands, commands + 1);
  moved[1] = NaN;
  assert.throws(() => restartFilter(state, moved), /left_shoulder is NaN/);
  assert.equal(state.position[1], resetState()[1]);
});

import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ACTION_RANGES,
  ARM_DIM,
  ARM_NAMES,
  armOffset,
  FOLLOWER_GRIPPER_JOINT_RAD,
  FOLLOWER_GRIPPER_LINEAR_M,
} from "../../common/robot/aloha.ts";
import { GOAL_IDS } from "../dynamixel/thread/bus_memory.ts";
import { GOAL_SERVOS } from "./servo_layout.ts";
import {
  commandToTicks,
  gripperCommandToRad,
  gripperRadToCommand,
  gripperRadToLinearM,
  gripperRadToState,
  radToTicks,
  ticksToCommand,
  ticksToRad,
  ticksToState,
} from "./units.ts";

const TICK_RAD = 2 * Math.PI / 4096;
const near = (actual: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} ±${tolerance}`);

/** 14 commands inside the ranges of the robot. */
const commands = fc.tuple(
  ...ACTION_RANGES.map(({ min, max }) => fc.double({ min, max, noNaN: true })),
);

Deno.test("radToTicks() has 0 rad at 2048 and 4096 ticks a turn", () => {
  assert.deepEqual([0, Math.PI, -Math.PI, -0.96].map(radToTicks), [2048, 4096, 0, 1422]);
});

Deno.test("ticksToRad() undoes radToTicks(), and the other way within half a tick", () => {
  fc.assert(fc.property(fc.integer({ min: -8192, max: 8192 }), (ticks) => {
    assert.equal(radToTicks(ticksToRad(ticks)), ticks);
  }));
  fc.assert(fc.property(fc.double({ min: -7, max: 7, noNaN: true }), (rad) => {
    near(ticksToRad(radToTicks(rad)), rad, TICK_RAD / 2 + 1e-12);
  }));
});

Deno.test("gripperRadToLinearM() meets the linkage's known openings within 0.15 mm", () => {
  const { min, max } = FOLLOWER_GRIPPER_JOINT_RAD;
  near(gripperRadToLinearM(min), FOLLOWER_GRIPPER_LINEAR_M.min, 1.5e-4);
  near(gripperRadToLinearM(max), FOLLOWER_GRIPPER_LINEAR_M.max, 1.5e-4);
});

Deno.test("the gripper's command is linear in the angle, its state in the opening", () => {
  const { min, max } = FOLLOWER_GRIPPER_JOINT_RAD;
  near(gripperCommandToRad(0), min, 1e-12);
  near(gripperCommandToRad(1), max, 1e-12);
  near(gripperRadToCommand((min + max) / 2), 0.5, 1e-12);
  near(gripperRadToState(min), 0, 1e-3);
  near(gripperRadToState(max), 1, 4e-3);
  near(gripperRadToState((min + max) / 2), 0.5256, 1e-4); // a crank is fastest in the middle
  assert.equal(gripperRadToState(min - 0.3), 0);
  fc.assert(fc.property(fc.double({ min: -0.4, max: 2, noNaN: true }), (command) => {
    near(gripperRadToCommand(gripperCommandToRad(command)), command, 1e-12);
    const rad = gripperCommandToRad(command);
    const state = gripperRadToState(rad);
    assert.ok(state >= 0 && state <= 1);
    if (command <= 0.99) assert.ok(gripperRadToState(rad + 0.01) >= state);
  }));
});

Deno.test("commandToTicks() and ticksToCommand() undo each other within half a tick", () => {
  fc.assert(
    fc.property(commands, fc.constantFrom(...ARM_NAMES), (command, arm) => {
      const ticks = new Float64Array(ARM_DIM), back = new Float64Array(14).fill(NaN);
      commandToTicks(command, arm, ticks);
      ticksToCommand(ticks, arm, back);
      for (let i = 0; i < 14; i++) {
        const isOwn = i >= armOffset(arm) && i < armOffset(arm) + ARM_DIM;
        if (isOwn) near(back[i], command[i], 1.01 * TICK_RAD); // a limit may lose its last tick
        else assert.ok(Number.isNaN(back[i]), "the other arm's numbers are left alone");
      }
    }),
  );
});

Deno.test("commandToTicks() never goes beyond a servo's own limits, not even by rounding", () => {
  const ticks = new Float64Array(ARM_DIM);
  for (const end of ["min", "max"] as const) {
    for (const widening of [0, 1]) {
      const sign = end === "min" ? -1 : 1;
      const command = ACTION_RANGES.map((range) => range[end] + sign * widening);
      commandToTicks(command, "right", ticks);
      GOAL_SERVOS.forEach(({ id, minTicks, maxTicks }, i) => {
        assert.ok(ticks[i] >= minTicks && ticks[i] <= maxTicks, `servo ${id}: ${ticks[i]}`);
      });
    }
  }
  commandToTicks(new Array(14).fill(NaN), "left", ticks);
  assert.ok(ticks.every(Number.isNaN), "no number is made out of none");
});

Deno.test("ticksToState() has the gripper's linear opening in the last place", () => {
  const ticks = Float64Array.from(GOAL_IDS, () => 2048);
  ticks[6] = radToTicks(FOLLOWER_GRIPPER_JOINT_RAD.max);
  const state = new Float32Array(14);
  ticksToState(ticks, "right", state);
  assert.deepEqual([...state.slice(0, 13)], new Array(13).fill(0));
  near(state[13], 0.997, 1e-3);
});

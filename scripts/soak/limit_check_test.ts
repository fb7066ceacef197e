import assert from "node:assert/strict";
import { ALOHA_DIM, resetState } from "../../common/robot/aloha.ts";
import { seededRandom, uniform } from "../../common/random.ts";
import { HOLD_REASONS, MOTION_RECORD } from "../../controller/motion/motion_memory.ts";
import { filterCommand } from "../../controller/safety/command_filter.ts";
import { DEFAULT_LIMITS } from "../../controller/safety/default_limits.ts";
import { createFilterState } from "../../controller/safety/filter_state.ts";
import type { StepLog } from "../../controller/step_log/reader.ts";
import { checkCommands } from "./limit_check.ts";

/** A cycle of a log. */
interface Cycle {
  readonly command: readonly number[];
  readonly measured?: readonly number[];
  readonly hold?: (typeof HOLD_REASONS)[number];
  readonly isRestart?: boolean;
}

/** A log of cycles at 50 Hz; its numbers are rounded as a file's are. */
function logOf(cycles: readonly Cycle[]): StepLog {
  const none = new Array<number>(ALOHA_DIM).fill(9);
  return {
    header: {
      startMs: 0,
      rateHz: 50,
      robot: "emulated",
      limitsHash: "",
      widenings: [],
      task: "",
      prompt: "",
    },
    cycles: cycles.length,
    timesMs: Float64Array.from(cycles, (_, i) => 20 * i),
    events: [],
    incompleteTail: null,
    read(index, out = new Float64Array(MOTION_RECORD.length)) {
      const { command, measured = none, hold = "none", isRestart = false } = cycles[index];
      out.fill(0);
      out.set(Float32Array.from(command), MOTION_RECORD.command);
      out.set(Float32Array.from(measured), MOTION_RECORD.measured);
      out[MOTION_RECORD.hold] = HOLD_REASONS.indexOf(hold);
      out[MOTION_RECORD.isRestart] = isRestart ? 1 : 0;
      return out;
    },
  };
}

const START = Array.from(resetState());
const moved = (by: number, joint = 0) => START.map((at, i) => i === joint ? at + by : at);

Deno.test("checkCommands() finds nothing in what the safety filter lets through", () => {
  const random = seededRandom(3);
  const filter = createFilterState(DEFAULT_LIMITS, START);
  const target = new Float64Array(START);
  const cycles = Array.from({ length: 600 }, (_, n) => {
    if (n % 40 === 0) { for (let i = 0; i < ALOHA_DIM; i++) target[i] = uniform(random, -3, 3); }
    return { command: Array.from(filterCommand(filter, target, 0.02).action) };
  });
  const found = checkCommands(logOf([{ command: START }, ...cycles]), DEFAULT_LIMITS);
  assert.deepEqual(found.violations, { finite: 0, position: 0, velocity: 0, acceleration: 0 });
  assert.equal(found.commands, 601);
  assert.equal(found.restarts, 0);
  assert.ok(found.largestShare.acceleration > 0.9, "the attack is a strong one");
});

Deno.test("checkCommands() finds a command that is too fast", () => {
  // Speeding up by 8 rad/s² for long enough is allowed for the waist, 1.9 rad/s is not.
  let at = 0, speed = 0;
  const cycles = Array.from({ length: 20 }, () => {
    const command = moved(at);
    speed += 0.15;
    at += speed * 0.02;
    return { command };
  });
  const { violations, examples } = checkCommands(logOf(cycles), DEFAULT_LIMITS);
  assert.ok(violations.velocity > 0);
  assert.equal(violations.acceleration, 0);
  assert.match(examples[0], /^cycle \d+ \(hold: none\): left_waist has velocity 1\.9/);
});

Deno.test("checkCommands() finds a jolt", () => {
  const cycles = [0, 0, 0.02, 0.02].map((by) => ({ command: moved(by) }));
  const { violations } = checkCommands(logOf(cycles), DEFAULT_LIMITS);
  assert.equal(violations.acceleration, 2);
  assert.equal(violations.velocity, 0);
});

Deno.test("checkCommands() finds a position outside, and allows the way back in", () => {
  const outside = DEFAULT_LIMITS.arms.left.waist.positionMax + 0.01;
  const at = (waist: number) => ({ command: moved(waist - START[0]) });
  const back = [outside, outside - 0.001, outside - 0.003].map(at);
  const resting = { ...back[0], measured: back[0].command, isRestart: true };
  assert.equal(checkCommands(logOf([resting, ...back]), DEFAULT_LIMITS).violations.position, 0);
  const out = [outside, outside + 0.001].map(at);
  assert.equal(
    checkCommands(
      logOf([{ ...out[0], measured: out[0].command, isRestart: true }, out[1]]),
      DEFAULT_LIMITS,
    ).violations.position,
    1,
  );
  assert.equal(checkCommands(logOf(out), DEFAULT_LIMITS).violations.position, 2, "never at rest");
});

Deno.test("checkCommands() tells a motion that begins anew from a jump", () => {
  const jump = moved(0.5);
  const found = (cycles: readonly Cycle[]) => {
    const { restarts, violations } = checkCommands(logOf(cycles), DEFAULT_LIMITS);
    return [restarts, violations.velocity];
  };
  const anew = { command: jump, measured: moved(0.42), isRestart: true };
  assert.deepEqual(found([{ command: START }, anew, { command: jump }]), [1, 0]);
  assert.deepEqual(
    found([{ command: START }, { ...anew, isRestart: false }]),
    [0, 1],
    "no restart",
  );
  assert.deepEqual(found([{ command: START }, { ...anew, measured: START }]), [0, 1], "far away");
  const moving = [{ command: moved(-0.002) }, { command: START }];
  assert.deepEqual(found([...moving, anew]), [0, 1], "while it moves");
});

Deno.test("checkCommands() lets an emergency stop stand still at once, and nothing else", () => {
  const speeds = [0, 0.1, 0.2, 0.3].map((speed) => speed * 0.02);
  let at = 0;
  const moving = speeds.map((way) => ({ command: moved(at += way) }));
  const stopped = { command: moved(at), hold: "emergency stop" } as const;
  assert.equal(
    checkCommands(logOf([...moving, stopped, stopped]), DEFAULT_LIMITS).violations.acceleration,
    0,
  );
  const held = { command: moved(at), hold: "ordered" } as const;
  assert.equal(
    checkCommands(logOf([...moving, held]), DEFAULT_LIMITS).violations.acceleration,
    1,
  );
});

Deno.test("checkCommands() finds a number that is none, and skips what comes before the first", () => {
  const nothing = new Array<number>(ALOHA_DIM).fill(NaN);
  const cycles = [nothing, nothing, START, moved(NaN, 3), START].map((command) => ({ command }));
  const { commands, violations } = checkCommands(logOf(cycles), DEFAULT_LIMITS);
  assert.equal(commands, 3);
  assert.equal(violations.finite, 1);
});

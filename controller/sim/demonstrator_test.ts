import assert from "node:assert/strict";
import { ACTION_RANGES, CONTROL_RATE_HZ, resetState } from "../../common/robot/aloha.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator, type DemonstratorOptions } from "./demonstrator.ts";
import { seededRandom } from "../../common/random.ts";
import type { TaskName } from "./task_names.ts";

/** Demonstrate some episodes; the numbers of control steps of those that succeeded. */
async function successes(
  task: TaskName,
  episodes: number,
  options: DemonstratorOptions = {},
): Promise<number[]> {
  using robot = await SimulatedAloha.create({ task, imageSize: 8, startNoiseRad: 0.02 });
  const demonstrator = createDemonstrator(robot, options);
  const steps: number[] = [];
  for (let seed = 0; seed < episodes; seed++) {
    robot.resetSync(seed);
    demonstrator.reset();
    let isSuccess = false;
    while (!robot.hasEnded) isSuccess = robot.stepSync(demonstrator.act()).isSuccess;
    assert.equal(robot.clipCount, 0);
    if (isSuccess) steps.push(robot.steps);
  }
  return steps;
}

Deno.test("the reach demonstrator always succeeds, within 60 control steps", async () => {
  const steps = await successes("reach", 50);
  assert.equal(steps.length, 50);
  assert.ok(Math.max(...steps) <= 60, `${steps}`);
});

Deno.test("the transfer_cube demonstrator succeeds in at least 9 of 10 episodes", async () => {
  const steps = await successes("transfer_cube", 10);
  assert.ok(steps.length >= 9, `${steps.length} of 10`);
});

Deno.test("noise and aim make the reach demonstrator worse, speed makes it slower", async () => {
  const aim = await successes("reach", 40, { aimNoiseM: 0.05, random: seededRandom(1) });
  assert.ok(aim.length > 4 && aim.length < 36, `${aim.length} of 40`);
  const noisy = await successes("reach", 40, {
    jointNoiseRad: 0.15,
    noiseCorrelation: 0.98,
    random: seededRandom(1),
  });
  assert.ok(noisy.length > 0);
  const slow = await successes("reach", 10, { speed: 0.5 });
  const normal = await successes("reach", 10);
  assert.equal(slow.length, 10);
  const total = (steps: number[]) => steps.reduce((a, b) => a + b);
  assert.ok(total(slow) > 1.3 * total(normal), `${slow} against ${normal}`);
});

Deno.test("a demonstrator's actions are legal, limited in speed, and the same for a seed", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8 });
  const run = () => {
    const demonstrator = createDemonstrator(robot, {
      jointNoiseRad: 0.01,
      random: seededRandom(3),
    });
    robot.resetSync(8);
    demonstrator.reset();
    const actions: Float32Array[] = [];
    while (!robot.hasEnded) {
      actions.push(demonstrator.act().slice());
      robot.stepSync(actions.at(-1)!);
    }
    return actions;
  };
  const actions = run();
  assert.deepEqual(run(), actions);
  const hold = resetState(1);
  for (let t = 0; t < actions.length; t++) {
    actions[t].forEach((x, i) => {
      assert.ok(x >= ACTION_RANGES[i].min - 1e-6 && x <= ACTION_RANGES[i].max + 1e-6);
      if (i >= 7) assert.ok(Math.abs(x - hold[i]) < 1e-6, "the right arm should hold still");
      // 1.6 rad/s, five standard deviations of the noise's change, and the lead over gravity.
      const limit = 1.6 / CONTROL_RATE_HZ + 5 * 0.01 * Math.SQRT2 + 0.02;
      if (t > 0) assert.ok(Math.abs(x - actions[t - 1][i]) < limit);
    });
  }
});

Deno.test("createDemonstrator() refuses options out of range in a sentence", async () => {
  using robot = await SimulatedAloha.create({ task: "reach", imageSize: 8 });
  const refuse = (options: DemonstratorOptions, message: RegExp) =>
    assert.throws(() => createDemonstrator(robot, options), { name: "RangeError", message });
  refuse({ speed: 0 }, /speed is 0, expected 0.1–3/);
  refuse({ jointNoiseRad: -1 }, /jointNoiseRad is -1/);
  refuse({ noiseCorrelation: 1 }, /noiseCorrelation is 1/);
  refuse({ aimNoiseM: NaN }, /aimNoiseM is NaN/);
  refuse({ jointNoiseRad: 0.1 }, /pass a random source/);
  refuse({ aimNoiseM: 0.1 }, /pass a random source/);
});

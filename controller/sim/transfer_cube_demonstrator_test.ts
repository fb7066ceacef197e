import assert from "node:assert/strict";
import { seededRandom } from "../../common/random.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator, type DemonstratorOptions } from "./demonstrator.ts";

/** Demonstrate at two and a half times the normal pace; each episode's highest stage. */
async function highestStages(episodes: number, options: DemonstratorOptions): Promise<number[]> {
  using robot = await SimulatedAloha.create({
    task: "transfer_cube",
    imageSize: 8,
    startNoiseRad: 0.02,
    maxEpisodeSteps: 140,
  });
  const demonstrator = createDemonstrator(robot, { speed: 2.5, ...options });
  const stages: number[] = [];
  for (let seed = 0; seed < episodes; seed++) {
    robot.resetSync(seed);
    demonstrator.reset();
    let highest = 0;
    while (!robot.hasEnded) highest = Math.max(highest, robot.stepSync(demonstrator.act()).reward);
    stages.push(highest);
  }
  return stages;
}

const count = (stages: readonly number[], stage: number) =>
  stages.filter((s) => s === stage).length;

Deno.test("the transfer_cube demonstrator gets there from points off its way", async () => {
  const stages = await highestStages(10, { waypointNoiseM: 0.015, random: seededRandom(1) });
  assert.ok(count(stages, 4) >= 8, `${stages}`);
});

Deno.test("the transfer_cube demonstrator gets back after pushes, which its actions do not show", async () => {
  const stages = await highestStages(10, { pushRadS: 0.5, random: seededRandom(1) });
  assert.ok(count(stages, 4) >= 6, `${stages}`);
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 8 });
  const demonstrator = createDemonstrator(robot, { pushRadS: 2, random: seededRandom(1) });
  robot.resetSync(0);
  demonstrator.reset();
  let farthestRad = 0, before = demonstrator.act().slice();
  for (let step = 0; step < 40; step++) {
    robot.stepSync(before);
    const action = demonstrator.act().slice();
    // Joints of the right arm; 0.1 rad a step would be three times the path's fastest.
    for (let i = 7; i < 13; i++) {
      assert.ok(Math.abs(action[i] - before[i]) < 0.1);
      farthestRad = Math.max(farthestRad, Math.abs(robot.readState()[i] - action[i]));
    }
    before = action;
  }
  assert.ok(farthestRad > 0.05, `${farthestRad} rad`);
});

Deno.test("the transfer_cube demonstrator misses the cube when it grasps too high", async () => {
  const stages = await highestStages(5, { graspBiasM: 0.035 });
  assert.ok(stages.every((stage) => stage < 2), `${stages}`);
});

Deno.test("the transfer_cube demonstrator errs in the share of episodes that it is told", async () => {
  const options = { graspBiasM: 0.035, graspBiasShare: 0.5 };
  const stages = await highestStages(12, { ...options, random: seededRandom(1) });
  assert.ok(count(stages, 4) >= 2 && count(stages, 4) <= 10, `${stages}`);
  assert.deepEqual(await highestStages(12, { ...options, random: seededRandom(1) }), stages);
});

Deno.test("the transfer_cube demonstrator refuses flaws out of range and chance without numbers", async () => {
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 8 });
  const create = (options: DemonstratorOptions) => () => createDemonstrator(robot, options);
  assert.throws(create({ graspBiasM: 0.2 }), {
    message: "Cannot demonstrate: graspBiasM is 0.2, expected -0.01–0.1",
  });
  assert.throws(create({ graspBiasShare: NaN }), /graspBiasShare is NaN, expected 0–1/);
  assert.throws(create({ waypointNoiseM: 1 }), /waypointNoiseM is 1, expected 0–0.1/);
  assert.throws(create({ pushRadS: -1 }), /pushRadS is -1, expected 0–10/);
  assert.throws(create({ pushRadS: 0.5 }), /pass a random source/);
  assert.throws(create({ waypointNoiseM: 0.01 }), /pass a random source/);
  assert.throws(create({ graspBiasM: 0.03, graspBiasShare: 0.5 }), /pass a random source/);
});

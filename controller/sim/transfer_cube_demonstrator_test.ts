import assert from "node:assert/strict";
import { normal, seededRandom } from "../../common/random.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator, type DemonstratorOptions } from "./demonstrator.ts";

/** Demonstrate at two and a half times the normal pace; each episode's highest stage. */
async function highestStages(
  episodes: number,
  options: DemonstratorOptions,
  { forgetsEvery = Infinity, disturb = () => {} }: {
    forgetsEvery?: number;
    disturb?: (robot: SimulatedAloha) => void;
  } = {},
): Promise<number[]> {
  using robot = await SimulatedAloha.create({
    task: "transfer_cube",
    imageSize: 8,
    startNoiseRad: 0.02,
    maxEpisodeSteps: 200,
  });
  const demonstrator = createDemonstrator(robot, { speed: 2.5, ...options });
  const stages: number[] = [];
  for (let seed = 0; seed < episodes; seed++) {
    robot.resetSync(seed);
    demonstrator.reset();
    let highest = 0;
    while (!robot.hasEnded) {
      if (robot.steps % forgetsEvery === 0) demonstrator.reset();
      highest = Math.max(highest, robot.stepSync(demonstrator.act()).reward);
      disturb(robot);
    }
    stages.push(highest);
  }
  return stages;
}

const count = (stages: readonly number[], stage: number) =>
  stages.filter((s) => s === stage).length;

Deno.test("the transfer_cube demonstrator succeeds at every pace, without a memory too", async () => {
  for (const speed of [1, 2.5]) {
    const stages = await highestStages(6, { speed });
    assert.equal(count(stages, 4), 6, `${stages}`);
  }
  const stages = await highestStages(6, {}, { forgetsEvery: 10 });
  assert.equal(count(stages, 4), 6, `${stages}`);
});

Deno.test("the transfer_cube demonstrator gets back after pushes and a lost cube", async () => {
  const random = seededRandom(1);
  const stages = await highestStages(10, {}, {
    disturb: (robot) => {
      const { qpos, qvel } = robot.data.views;
      if (robot.steps % 8 === 0) { for (let i = 0; i < 16; i++) qvel[i] += 0.5 * normal(random); }
      if (robot.steps !== 45) return;
      // The cube is back on the table.
      robot.task.place(random);
      assert.ok(qpos[18] < 0.03);
    },
  });
  assert.ok(count(stages, 4) >= 8, `${stages}`);
});

Deno.test("the transfer_cube demonstrator misses the cube when it grasps too high", async () => {
  const stages = await highestStages(5, { graspBiasM: 0.035 });
  assert.ok(stages.every((stage) => stage < 2), `${stages}`);
});

Deno.test("the transfer_cube demonstrator refuses flaws out of range", async () => {
  using robot = await SimulatedAloha.create({ task: "transfer_cube", imageSize: 8 });
  const create = (options: DemonstratorOptions) => () => createDemonstrator(robot, options);
  assert.throws(create({ graspBiasM: 0.2 }), {
    message: "Cannot demonstrate: graspBiasM is 0.2, expected -0.01–0.1",
  });
  assert.throws(create({ speed: 9 }), /speed is 9, expected 0.1–3/);
});

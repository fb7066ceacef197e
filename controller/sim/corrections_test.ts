import assert from "node:assert/strict";
import { ALOHA_DIM } from "../../common/robot/aloha.ts";
import { seededRandom } from "../../common/random.ts";
import type { Observation } from "../../common/types.ts";
import { SimulatedAloha } from "./aloha_sim.ts";
import { Adviser, recordCorrections } from "./corrections.ts";

const SIMULATION = {
  task: "transfer_cube",
  imageSize: 8,
  maxEpisodeSteps: 200,
  startNoiseRad: 0.02,
} as const;
const PACE = { speed: 2.5 };
const DISTURBANCE = { share: 0.5, jointRad: 0.12, gripperShare: 0.1 };

Deno.test("Adviser.advise() tells what the robot then does, and leaves it alone", async () => {
  using robot = await SimulatedAloha.create(SIMULATION);
  using adviser = await Adviser.create(SIMULATION, PACE);
  robot.resetSync(3);
  let isSuccess = false;
  while (!robot.hasEnded) {
    const before = robot.readState();
    const chunk = adviser.advise(robot, 10);
    assert.deepEqual(robot.readState(), before);
    assert.deepEqual(adviser.advise(robot, 10), chunk);
    for (let h = 0; h < 10 && !robot.hasEnded; h++) {
      isSuccess = robot.stepSync(chunk.subarray(h * ALOHA_DIM, (h + 1) * ALOHA_DIM)).isSuccess;
    }
  }
  assert.ok(isSuccess);
});

Deno.test("recordCorrections() shows ways back, not the disturbance", async () => {
  using robot = await SimulatedAloha.create(SIMULATION);
  using adviser = await Adviser.create(SIMULATION, PACE);
  const record = (seed: number, share: number) =>
    recordCorrections([robot], adviser, {
      episodes: 3,
      firstSeed: 0,
      horizon: 10,
      disturbance: { ...DISTURBANCE, share },
      random: seededRandom(seed),
    });
  const calm = await record(1, 0), rough = await record(1, 1), again = await record(1, 1);
  assert.equal(calm.successRate, 1);
  assert.ok(rough.examples.length > calm.examples.length);
  assert.deepEqual(rough.examples.map((e) => e.actions), again.examples.map((e) => e.actions));
  // The first example of an episode is before any disturbance: what it shows is the same.
  assert.deepEqual(rough.examples[0].actions, calm.examples[0].actions);
  assert.deepEqual(rough.examples[0].observation, calm.examples[0].observation);
  // Disturbed by 0.12 rad, the second observation differs; the advice from there is calm again.
  const off = (k: number) =>
    Math.max(
      ...rough.examples[1].observation.state.map((x, i) =>
        Math.abs(x - calm.examples[k].observation.state[i])
      ),
    );
  assert.ok(off(1) > 0.03, `${off(1)}`);
  assert.ok(rough.examples.every(({ actions }) => actions.every(Number.isFinite)));
});

Deno.test("recordCorrections() shows what to do where a pupil gets to, on robots side by side", async () => {
  using one = await SimulatedAloha.create({ ...SIMULATION, maxEpisodeSteps: 60 });
  using two = await SimulatedAloha.create({ ...SIMULATION, maxEpisodeSteps: 60 });
  using adviser = await Adviser.create(SIMULATION, PACE);
  const stay = (share: number) => ({
    share,
    // deno-lint-ignore require-await
    act: async (observations: readonly Observation[]) =>
      observations.map(({ state }) => Float32Array.from({ length: 140 }, (_, i) => state[i % 14])),
  });
  let ended = 0;
  const { examples, successRate } = await recordCorrections([one, two], adviser, {
    episodes: 3,
    firstSeed: 0,
    horizon: 10,
    disturbance: { ...DISTURBANCE, share: 0 },
    pupil: stay(1),
    random: seededRandom(1),
    onEpisode: () => ended++,
  });
  assert.equal(ended, 3);
  assert.equal(successRate, 0);
  assert.equal(examples.length, 3 * 6);
  // The pupil stays where it is; the advice is to go to the cube all the same.
  for (const { observation, actions } of examples) {
    assert.ok(Math.abs(actions[9 * 14 + 7 + 1] - observation.state[7 + 1]) > 0.1);
  }
});

import assert from "node:assert/strict";
import { SimulatedAloha } from "./aloha_sim.ts";
import { createDemonstrator } from "./demonstrator.ts";

/** Rewards of one demonstrated episode. */
async function rewards(pays?: "stage" | "gain"): Promise<number[]> {
  using robot = await SimulatedAloha.create({
    task: "transfer_cube",
    imageSize: 8,
    transferCube: { pays },
  });
  robot.resetSync(0);
  const demonstrator = createDemonstrator(robot, { speed: 2.5 });
  demonstrator.reset();
  const out: number[] = [];
  while (!robot.hasEnded) out.push(robot.stepSync(demonstrator.act()).reward);
  return out;
}

Deno.test("transfer_cube that pays gains pays each stage once, when it is first reached", async () => {
  const stages = await rewards();
  const gains = await rewards("gain");
  assert.equal(gains.length, stages.length);
  assert.equal(gains.reduce((sum, r) => sum + r), 4);
  let highest = 0;
  gains.forEach((gain, step) => {
    assert.equal(gain, Math.max(0, stages[step] - highest));
    highest += gain;
  });
});

Deno.test("transfer_cube pays stages unless told otherwise", async () => {
  assert.deepEqual(await rewards("stage"), await rewards());
});

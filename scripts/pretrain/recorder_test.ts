import assert from "node:assert/strict";
import { parseCommand } from "../../common/cli/flags.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { loadPolicy } from "../../common/policy/load.ts";
import { countTensors, normalSource } from "../../common/policy/testing.ts";
import { seededRandom } from "../../common/random.ts";
import { COMMAND } from "./command.ts";
import { Recorder } from "./recorder.ts";

const SHIPPED = new URL("../../common/pretrained/transfer_cube", import.meta.url).pathname;
const { signal } = new AbortController();

async function recorder(...args: string[]): Promise<Recorder> {
  const parsed = parseCommand(COMMAND, ["--horizon", "10", "--max-token-len", "64", ...args]);
  assert.ok(parsed.kind === "run");
  const { config, config: { task, maxEpisodeSteps, actionDim }, flags } = parsed;
  const simulation = { task, imageSize: 56, maxEpisodeSteps, actionDim, startNoiseRad: 0 };
  return await Recorder.create(simulation, config, flags, seededRandom(1), signal);
}

const TRANSFER = [
  ...["--task", "transfer_cube", "--max-episode-steps", "30", "--episodes", "4", "--rounds", "2"],
  ...["--disturb-share", "0", "--own-share", "1"],
];

Deno.test("Recorder records other episodes in each round and for each seed", async () => {
  using one = await recorder(...TRANSFER, "--own-share", "0");
  using two = await recorder(...TRANSFER, "--own-share", "0", "--seed", "1");
  const rounds = [one, one, two, two];
  const scenes: string[] = [];
  for (const each of rounds) {
    const { examples } = await each.record(undefined);
    assert.equal(examples.length, 2 * 3); // two episodes of three chunks
    scenes.push(...examples.filter((_, i) => i % 3 === 0).map((e) => e.scene!.join()));
  }
  assert.equal(new Set(scenes).size, scenes.length);
});

Deno.test("Recorder lets a policy drive, and records what the demonstrator would do", async () => {
  await useDevice("wasm");
  const { policy } = await loadPolicy(SHIPPED, {
    valueHeadHiddenDim: 8,
    valueInput: "observation",
    maxValueSteps: 4,
    isCriticDetached: true,
    normal: normalSource(1),
  });
  using _ = policy;
  using alone = await recorder(...TRANSFER);
  using driven = await recorder(...TRANSFER);
  const before = countTensors();
  const calm = (await alone.record(undefined)).examples;
  const own = (await driven.record(policy)).examples;
  assert.equal(countTensors(), before);
  // Two robots side by side: the examples of an episode are every second one.
  assert.deepEqual(own[0].observation, calm[0].observation);
  assert.deepEqual(own[0].actions, calm[0].actions); // advice, whoever drives then
  assert.notDeepEqual(own[2].observation.state, calm[1].observation.state);
});

Deno.test("Recorder records demonstrations of reach", async () => {
  using reach = await recorder("--episodes", "2");
  const { examples, successRate } = await reach.record(undefined);
  assert.ok(examples.length > 0 && successRate >= 0);
  assert.ok(examples.every(({ actions }) => actions.length === 140 && actions.every(isFinite)));
});

import assert from "node:assert/strict";
import { PRESETS } from "../../common/config/presets.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { ACTION_DIM, HORIZON, makePolicy } from "../../common/policy/testing.ts";
import { seededRandom } from "../../common/random.ts";
import { resetState } from "../../common/robot/aloha.ts";
import { simulatedSource } from "./simulated_source.ts";

await useDevice("wasm");

const CONFIG = { ...PRESETS.demo, numEnvs: 2, horizon: HORIZON, actionDim: ACTION_DIM } as const;

Deno.test("simulatedSource() lets a person over HTTP drive a robot and end its episode", async () => {
  using policy = makePolicy();
  let episodes = 0;
  await using source = await simulatedSource(CONFIG, {
    imageSize: policy.shape.variant.siglip.imageSize,
    random: seededRandom(1),
    nextEpisode: () => ({ seed: episodes, episodeId: `episode-${episodes++}` }),
    keepsImageTokens: () => false,
  });
  const post = async (path: string, body: object) => {
    const request = new Request(`http://127.0.0.1${path}`, {
      method: "POST",
      body: JSON.stringify(body),
    });
    const response = await source.commands[path](request);
    const { sentence } = await response.json();
    assert.equal(response.status, 200, sentence);
  };
  const drivers = async () =>
    (await source.runner.advance(policy, 0)).map((t) =>
      `${t.episodeId}.${t.chunkIndex} ${t.driver}`
    );

  assert.deepEqual(await drivers(), ["episode-0.0 policy", "episode-1.0 policy"]);
  assert.deepEqual(source.status(), {
    kind: "simulated",
    episodes: ["episode-0", "episode-1"],
    takenOver: null,
  });
  await post("/takeover", { robot: 1 });
  await post("/takeover/actions", { actions: Array(HORIZON).fill([...resetState(1)]) });
  assert.deepEqual(await drivers(), ["episode-0.1 policy", "episode-1.1 person"]);
  await post("/reward", { episode: "episode-1", kind: "failure", value: -2 });
  await post("/takeover/release", {});
  const [, last] = await source.runner.advance(policy, 0);
  assert.deepEqual([last.driver, last.isTerminal, last.isSuccess], ["policy", true, false]);
  assert.deepEqual([...last.humanRewards], [-2]);
  assert.deepEqual(await drivers(), ["episode-0.3 policy", "episode-2.0 policy"]);
});

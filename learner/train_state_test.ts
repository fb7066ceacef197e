import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { decodeTrainState, encodeTrainState, type TrainState } from "./train_state.ts";

const STATE: TrainState = {
  trainer: {
    klWeight: 0.1 + 0.2,
    guard: { inARow: 1, skipped: 4, rollbacks: 1 },
    values: { mean: 1 / 3, square: 2 / 3, weight: 0.1 },
    newness: {
      steps: 3,
      featureMoments: { count: 2, mean: [1 / 7], squares: [2 / 7] },
      error: { meanSquare: 1 / 9, count: 6 },
    },
  },
  anchor: "checkpoints/imitation/step_7",
  chunks: [],
  acceptedIds: ["a", "b"],
  openEpisodes: [["e", { reward: 1 / 3, humanReward: 0, steps: 4, humanSteps: 0 }]],
  episodesTotal: 12,
  finishedEpisodes: [{
    ...{ episodeId: "f", reward: 2 / 3, humanReward: 0.1, steps: 9, humanSteps: 2 },
    ...{ end: "time_limit", isSuccess: false, policyVersion: 4 },
  }],
  versionJumps: [{ after: 3, next: 7 }],
};

Deno.test("decodeTrainState() gives back what encodeTrainState() was given, to the last bit", async () => {
  assert.deepEqual(decodeTrainState(await encodeTrainState(STATE), "step_1"), STATE);
  const plain = { ...STATE, trainer: { ...STATE.trainer, values: null, newness: null } };
  assert.deepEqual(decodeTrainState(await encodeTrainState(plain), "step_1"), plain);
});

Deno.test("decodeTrainState() reads what older releases have written", async () => {
  const { finishedEpisodes: _, versionJumps: __, chunks: ___, ...older } = STATE;
  const bytes = new TextEncoder().encode(JSON.stringify(older));
  const files = new Map(await encodeTrainState(STATE)).set("state.json", bytes);
  const expected = { ...STATE, finishedEpisodes: [], versionJumps: [] };
  assert.deepEqual(decodeTrainState(files, "step_1"), expected);
});

Deno.test("decodeTrainState() knows a checkpoint that has no more than an optimiser", () => {
  assert.equal(decodeTrainState(new Map(), "step_1"), null);
});

Deno.test("decodeTrainState() refuses what is damaged and says what to do", async () => {
  const files = await encodeTrainState(STATE);
  const bytes = (text: string) => new TextEncoder().encode(text);
  for (const text of ["{", "{}", JSON.stringify({ ...STATE, anchor: 3 })]) {
    const damaged = new Map(files).set("state.json", bytes(text));
    assert.throws(
      () => decodeTrainState(damaged, "step_1"),
      /^RangeError: Cannot resume from step_1: its train_state is damaged \([\s\S]*--checkpoint$/,
    );
  }
  const notCompressed = new Map(files).set("chunks.bin.gz", bytes("abc"));
  assert.throws(() => decodeTrainState(notCompressed, "step_1"), /its train_state is damaged \(/);
  const cut = new Map(files).set("chunks.bin.gz", gzipSync(bytes("abc")));
  assert.throws(() => decodeTrainState(cut, "step_1"), /damaged \(Cannot read chunks: the frame/);
});

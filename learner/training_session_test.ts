import assert from "node:assert/strict";
import * as tf from "@tensorflow/tfjs";
import { PRESETS } from "../common/config/presets.ts";
import { useDevice } from "../common/policy/backend.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { makeObservations } from "../common/policy/testing.ts";
import { TrainingSession } from "./training_session.ts";

await useDevice("wasm");

const [, checkpoint] = SHIPPED_CHECKPOINTS;
const start = {
  checkpoint,
  reference: checkpoint,
  config: { ...PRESETS.debug, intrinsicRewardWeight: 1 },
};

Deno.test("TrainingSession rates observations, and 0 what its policy cannot see", async () => {
  const alive = tf.memory().numTensors;
  {
    using session = await TrainingSession.open(start);
    const good = makeObservations(1, 3, 56);
    const [bad] = makeObservations(1, 1, 4);
    const rated = await session.rateNewness([good[0], bad, good[1], good[2]]);
    assert.equal(rated.length, 4);
    assert.equal(rated[1], 0);
    assert.ok([rated[0], rated[2], rated[3]].every((x) => x > 0 && Number.isFinite(x)));
    assert.deepEqual(await session.rateNewness([bad]), new Float32Array(1));
    assert.deepEqual(await session.rateNewness([]), new Float32Array(0));
    for (let i = 0; i < 30; i++) await session.rateNewness(good);
    const later = await session.rateNewness(good);
    assert.ok(later[0] < rated[0], "what was seen often is new no more");
  }
  assert.equal(tf.memory().numTensors, alive);
});

Deno.test("TrainingSession says what it cannot do", async () => {
  const plain = { ...start, config: PRESETS.debug };
  using session = await TrainingSession.open(plain);
  await assert.rejects(session.rateNewness([]), /Cannot rate newness: its reward has no weight/);
  const demonstrations = `${checkpoint}/metadata.json`;
  const config = { ...PRESETS.debug, imitationWeight: 1, demonstrations };
  const alive = tf.memory().numTensors;
  await assert.rejects(TrainingSession.open({ ...start, config }), /Cannot read chunks: the frame/);
  assert.equal(tf.memory().numTensors, alive);
});

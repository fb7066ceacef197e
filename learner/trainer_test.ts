import assert from "node:assert/strict";
import { PRESETS } from "../common/config/presets.ts";
import { SHIPPED_CHECKPOINTS } from "../common/policy/choose_checkpoint.ts";
import { Trainer } from "./trainer.ts";

Deno.test("Trainer gives all weights after an update, and the same tensors where none is trained", async () => {
  const [, checkpoint] = SHIPPED_CHECKPOINTS;
  const config = { ...PRESETS.debug, trainVision: false };
  using trainer = new Trainer();
  const ready = await trainer.start({ checkpoint, reference: checkpoint, config });
  // Without a chunk nothing changes; what is trained comes from the thread all the same.
  const options = { update: 1, policyVersion: 0, learningRateScale: 1, isCriticAlone: false };
  const { weights } = await trainer.update([], options);
  assert.deepEqual(weights, ready.weights);
  const isSame = weights.map((tensor, i) => tensor === ready.weights[i]);
  assert.deepEqual(isSame, weights.map(({ name }) => name.includes("PaliGemma/img/")));
});

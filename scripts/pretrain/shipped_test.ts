import assert from "node:assert/strict";
import { PRESETS } from "../../common/config/presets.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { chooseCheckpoint } from "../../common/policy/choose_checkpoint.ts";
import { loadPolicy } from "../../common/policy/load.ts";
import { evaluatePolicy } from "../../controller/evaluation.ts";
import { createRobots } from "../../controller/sim/create_robots.ts";

for (const preset of ["demo", "transfer_cube"] as const) {
  Deno.test(`the policy that ships for ${preset} almost works`, async () => {
    const config = { ...PRESETS[preset], numEnvs: 20 };
    const { path, metadata } = await chooseCheckpoint(config);
    assert.equal(metadata.training.task, config.task);
    await useDevice("wasm");
    const { policy } = await loadPolicy(path, { ...config, normal: () => 0 });
    using _ = policy;
    using robots = await createRobots(config, policy.shape.variant.siglip.imageSize);
    const held = { episodes: 40, temperature: 0, seed: 0 };
    const { successRate } = await evaluatePolicy(policy, robots.all, held);
    assert.ok(successRate > 0.3 && successRate < 0.65, `${successRate}`);
  });
}

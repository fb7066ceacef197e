/**
 * A controller that decodes on the GPU, as a process, with a learner that computes on the CPU.
 *
 * @module
 */

import assert from "node:assert/strict";
import { whyNoWebgpu } from "../common/device/testing.ts";
import { Program } from "./program.ts";

const reason = await whyNoWebgpu();
if (reason) console.log(`The end-to-end test of the decode engine is skipped: ${reason}.`);

Deno.test("a controller in int8 on the GPU feeds a learner and takes its weights", {
  ignore: reason !== undefined,
}, async () => {
  const folder = await Deno.makeTempDir({ prefix: "tendon-engine-" });
  try {
    const args = [
      ...["--checkpoint-dir", folder, "--exp-name", "engine", "--updates", "2", "--num-envs", "2"],
      ...["--chunks-per-update", "8", "--epochs", "1", "--batch-size", "4", "--no-wandb", "--json"],
      // So the second update takes chunks of the weights that the first has published.
      ...["--max-staleness", "0"],
    ];
    await using learner = new Program("learner/main.ts", [
      ...[...args, "--device", "wasm", "--port", "0"],
    ]);
    const { url } = await learner.event("listening");
    await using controller = new Program("controller/main.ts", [
      ...[...args, "--device", "webgpu", "--precision", "int8", "--controller-port", "0"],
      ...["--learner-url", `${String(url).replace(/^http/, "ws")}/ws`],
    ]);
    const page = String((await controller.event("listening")).url);
    const status = await (await fetch(`${page}/status`)).json();
    assert.deepEqual([status.decoder, status.precision], ["engine", "int8"]);
    const ends = await Promise.all([learner.end(), controller.end()]);
    for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
    const updates = learner.events.filter(({ event }) => event === "update");
    assert.deepEqual(updates.map(({ policyVersion }) => policyVersion), [1, 2]);
    // The log-probabilities that came are near the learner's own, and not equal to them.
    const gap = Number(updates[0].behaviourGapMean);
    assert.ok(gap > 1e-4 && gap < 0.1, `mean gap of a token: ${gap} nats`);
    const [summary] = controller.events.slice(-1);
    assert.ok(Number(summary.policyVersion) >= 1, "it never took weights");
    assert.ok(Number(summary.chunksAcknowledged) >= 16);
    assert.match(ends[1].stderr, /in int8 with the decode engine \(\d+ MiB of GPU memory\)/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

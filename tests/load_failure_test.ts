/**
 * A run whose checkpoint is damaged: it goes on with random weights, and says so everywhere.
 *
 * @module
 */

import assert from "node:assert/strict";
import { readCheckpoint } from "../common/checkpoint/checkpoint.ts";
import { pretrain, Program } from "./program.ts";

Deno.test("a damaged checkpoint gives a random policy that status, log and metadata own up to", async () => {
  const folder = await Deno.makeTempDir({ prefix: "tendon-load-failure-" });
  try {
    const damaged = await pretrain(folder, "damaged");
    const weights = `${damaged}/params/model.safetensors`;
    await Deno.truncate(weights, (await Deno.stat(weights)).size - 7);
    const settings = [
      ...["--checkpoint-dir", folder, "--exp-name", "run", "--checkpoint", damaged],
      ...["--updates", "1", "--num-envs", "2", "--chunks-per-update", "4", "--epochs", "1"],
      ...["--batch-size", "4", "--device", "wasm", "--no-wandb", "--json"],
    ];
    await using learner = new Program("learner/main.ts", [...settings, "--port", "0"]);
    const learnerUrl = String((await learner.event("listening")).url);
    const status = async (url: string) => await (await fetch(`${url}/status`)).json();
    assert.equal((await status(learnerUrl)).initialization, "random");
    await using controller = new Program("controller/main.ts", [
      ...[...settings, "--controller-port", "0"],
      ...["--learner-url", `${learnerUrl.replace(/^http/, "ws")}/ws`],
    ]);
    const controllerUrl = String((await controller.event("listening")).url);
    assert.equal((await status(controllerUrl)).initialization, "random");
    for (const program of [learner, controller]) {
      assert.equal((await program.end()).code, 0, program.stderr);
      assert.match(program.stderr, /RANDOM POLICY/);
      assert.match(program.stderr, /it is truncated/);
    }
    const { metadata } = await readCheckpoint(`${folder}/run/step_1`);
    assert.equal(metadata.initialization, "random");
    assert.match(metadata.notes.join("\n"), /RANDOM POLICY[^]*it is truncated/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/**
 * The controller with arms as a process: emulated ones that feed a learner, and real ones that are not
 * there or may not be driven.
 *
 * @module
 */

import assert from "node:assert/strict";
import { CAMERA_NAMES } from "../common/types.ts";
import { pretrain, Program, runProgram } from "./program.ts";

/** How long a stopped controller may take to close everything, in ms: arms come to rest first. */
const MAX_STOP_MS = 20_000;

Deno.test("a controller with arms as a process", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "tendon-robot-" });
  try {
    const start = await pretrain(folder, "imitation");
    await t.step("emulated arms feed a learner, and SIGINT leaves them held", () => {
      return feedLearner(folder, start);
    });
    await t.step("what cannot be driven is refused in one sentence", () => refuse(folder, start));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function feedLearner(folder: string, start: string): Promise<void> {
  const args = [
    ...["--checkpoint-dir", folder, "--exp-name", "arms", "--updates", "1000"],
    ...["--checkpoint", start, "--chunks-per-update", "4", "--epochs", "1", "--batch-size", "4"],
    ...["--device", "wasm", "--no-wandb", "--json"],
  ];
  await using learner = new Program("learner/main.ts", [...args, "--port", "0"]);
  const { url } = await learner.event("listening");
  await using controller = new Program("controller/main.ts", [
    ...[...args, "--robot", "emulated", "--step-log", `${folder}/steps`, "--controller-port", "0"],
    ...["--learner-url", `${String(url).replace(/^http/, "ws")}/ws`],
  ]);
  const page = String((await controller.event("listening")).url);
  await learner.event("update");
  const { counts, robot } = await (await fetch(`${page}/status`)).json();
  assert.ok(counts.acked >= 4, JSON.stringify(counts));
  assert.equal(counts.refused, 0);
  assert.deepEqual([robot.kind, robot.isDryRun, robot.emergencyStop], ["emulated", false, null]);
  assert.match(
    await (await fetch(`${page}/metrics`)).text(),
    /^tendon_controller_bus\{arm="left"/m,
  );

  const stoppedMs = performance.now();
  controller.stop("SIGINT");
  const { code, stderr } = await controller.end();
  assert.ok(performance.now() - stoppedMs < MAX_STOP_MS);
  assert.ok(code === 0 || code === 130, `${code}: ${stderr}`);
  assert.match(stderr, /EMERGENCY STOP by signal.*; hold/);
  assert.match(stderr, /The arms hold their pose by torque/);
  assert.doesNotMatch(stderr, /^\s+at /m);
  const [summary] = controller.events.slice(-1);
  assert.equal(summary.event, "summary");
  assert.equal(summary.chunksDropped, 0);
  const logs = await Array.fromAsync(Deno.readDir(`${folder}/steps`));
  assert.equal(logs.filter(({ name }) => name.endsWith(".steps")).length, 1);
}

async function refuse(folder: string, start: string): Promise<void> {
  const cameras = `${folder}/cameras.json`;
  const source = {
    kind: "ffmpeg",
    arguments: ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30"],
  };
  const list = CAMERA_NAMES.map((name) => ({ name, source, width: 64, height: 48 }));
  await Deno.writeTextFile(cameras, JSON.stringify(list));
  const missing = `${folder}/there_is_no_arm`;
  const common = ["--checkpoint", start, "--device", "wasm", "--controller-port", "0"];
  const aloha = [...common, "--step-log", "", "--robot", "aloha", "--right-port", `${missing}_2`];
  const cases: readonly (readonly [string[], number, RegExp])[] = [
    [aloha, 2, /needs its cameras: name a JSON file with --cameras/],
    [[...aloha, "--cameras", cameras, "--on-load-failure", "random"], 1, /must not move by random/],
    [[...aloha, "--cameras", cameras, "--left-port", missing], 1, /there_is_no_arm/],
    [[...aloha, "--cameras", `${folder}/none.json`], 1, /none\.json/],
  ];
  const ends = await Promise.all(cases.map(([args]) => runProgram("controller/main.ts", args)));
  ends.forEach(({ code, stderr }, i) => {
    const [, expected, sentence] = cases[i];
    assert.equal(code, expected, stderr);
    assert.match(stderr.trim().split("\n").at(-1)!, sentence);
    assert.doesNotMatch(stderr, /^\s+at /m);
  });
}

/**
 * Pretrain, learner and controller as processes on one machine, with tiny numbers.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { readCheckpoint } from "../common/checkpoint/checkpoint.ts";
import { pretrain, Program } from "./program.ts";

/** What an update's line must hold. */
const METRICS = [
  ...["episodeReward", "chunkReward", "successRate", "policyLoss", "valueLoss", "entropy"],
  ...["approxKl", "clipFraction", "explainedVariance", "gradNorm", "chunksPerSecond", "weightAge"],
  ...["rewardEnvironment", "rewardHuman", "rewardIntrinsic"],
  ...["behaviourGapMean", "behaviourGapMax", "behaviourKl", "behaviourGapTokens"],
];

/** A learner's server may be busy for at most so long, in milliseconds. */
const MAX_BUSY_MS = 250;

const folder = await Deno.makeTempDir({ prefix: "tendon-end-to-end-" });

/** Settings that both programs share. */
function settings(expName: string, checkpoint: string, updates: number): string[] {
  return [
    ...["--checkpoint-dir", folder, "--exp-name", expName, "--updates", String(updates)],
    ...(checkpoint === "" ? ["--resume"] : ["--checkpoint", checkpoint]),
    ...["--num-envs", "2", "--chunks-per-update", "8", "--epochs", "1", "--batch-size", "4"],
    ...["--device", "wasm", "--no-wandb", "--json"],
  ];
}

function startLearner(args: readonly string[], port = 0): Program {
  return new Program("learner/main.ts", [...args, "--port", String(port)]);
}

/** Start a controller of a learner that listens at `url`. */
function startController(url: string, args: readonly string[]): Program {
  const learnerUrl = `${url.replace(/^http/, "ws")}/ws`;
  return new Program("controller/main.ts", [
    ...[...args, "--controller-port", "0", "--learner-url", learnerUrl],
  ]);
}

const urlOf = async (program: Program) => String((await program.event("listening")).url);

/** Ask all status pages over and over until a promise settles. */
async function watch(urls: readonly string[], until: Promise<unknown>) {
  const bodies = new Map<string, string>();
  const healthMs: number[] = [];
  let isOver = false;
  until.finally(() => isOver = true);
  while (!isOver) {
    for (const url of urls) {
      for (const path of ["/healthz", "/status", "/metrics"]) {
        const start = performance.now();
        try {
          const response = await fetch(url + path);
          const text = await response.text();
          // A controller whose run is over says that it is not ready, until it has ended.
          const wasHealthy = url !== urls[0] && path === "/healthz" && bodies.has(url + path);
          if (wasHealthy && response.status === 503) continue;
          assert.equal(response.status, 200, text);
          bodies.set(url + path, text);
        } catch (error) {
          // A program that has just ended answers no more.
          if (error instanceof assert.AssertionError) throw error;
          continue;
        }
        if (url === urls[0] && path === "/healthz") healthMs.push(performance.now() - start);
      }
    }
  }
  return { bodies, healthMs };
}

/** The latency that 95 % of the asking time was below: a long block weighs by its length. */
function timeWeightedP95(latenciesMs: readonly number[]): number {
  const sorted = [...latenciesMs].sort((a, b) => a - b);
  const total = sorted.reduce((a, b) => a + b, 0);
  let sum = 0;
  return sorted.find((ms) => (sum += ms) >= 0.95 * total) ?? 0;
}

function readRows(expName: string, sql: string): Record<string, unknown>[] {
  const database = new DatabaseSync(`${folder}/${expName}/tendon.sqlite`, { readOnly: true });
  try {
    return database.prepare(sql).all() as Record<string, unknown>[];
  } finally {
    database.close();
  }
}

async function readMetrics(expName: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(`${folder}/${expName}/metrics.jsonl`);
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** A learner and one controller from start to end. */
async function runBoth(args: readonly string[]) {
  await using learner = startLearner(args);
  const learnerUrl = await urlOf(learner);
  await using controller = startController(learnerUrl, args);
  const controllerUrl = await urlOf(controller);
  const watched = await watch([learnerUrl, controllerUrl], learner.end());
  const ends = await Promise.all([learner.end(), controller.end()]);
  for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
  const [summary] = learner.events.slice(-1);
  const [controllerSummary] = controller.events.slice(-1);
  const updates = learner.events.filter((e) => e.event === "update");
  return { summary, controllerSummary, updates, watched, learnerUrl, controllerUrl };
}

Deno.test("pretrain, learner and controller work together", async (t) => {
  try {
    const start = await pretrain(folder, "imitation");
    await t.step("an imitation policy is trained for two updates", () => trainTwice(start));
    await t.step("--resume goes on where the run ended", resumeRun);
    await t.step("a new experiment from a trained policy counts anew", startFromTrained);
    await t.step("a killed learner resumes and its controller comes back", () => killRun(start));
    await t.step("a stopped learner writes a checkpoint first", () => stopRun(start));
    await t.step("a controller with another tokenizer is refused", () => refuse(start));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function trainTwice(start: string): Promise<void> {
  const run = await runBoth(settings("train", start, 2));
  const { summary, controllerSummary, updates, watched } = run;
  assert.deepEqual(updates.map((e) => [e.update, e.policyVersion]), [[1, 1], [2, 2]]);
  assert.equal(summary.event, "summary");
  assert.equal(summary.updates, 2);
  assert.equal(summary.policyVersion, 2);
  assert.equal(summary.chunksTrained, 16);
  assert.equal(summary.checkpoint, `${folder}/train/step_2`);
  assert.equal(controllerSummary.event, "summary");
  assert.ok(Number(controllerSummary.chunksSent) >= 16);
  const [first, second] = updates;
  assert.ok(Number(first.logProbGap) < 1e-4, "the learner recomputes what was recorded");
  // The image encoder is frozen: what the controller made of its pictures is not made again. Its first
  // chunks may be from before the learner's weights came.
  assert.ok(Number(second.imageTokensTaken) > 0, `${second.imageTokensTaken}`);
  assert.equal(second.imageTokenGap, 0);
  // Before the first update there is one version, so each of its chunks can be compared.
  assert.ok(Number(first.behaviourGapTokens) > 0 && Number(first.behaviourGapMax) < 1e-4);

  const checkpoint = await readCheckpoint(`${folder}/train/step_2`);
  const { metadata, valueHead, actorBackbone, optimizer } = checkpoint;
  assert.equal(metadata.kind, "actor_critic");
  assert.equal(metadata.policyVersion, 2);
  assert.equal(metadata.training.optimizerSteps, 4);
  assert.ok(valueHead!.length > 0 && actorBackbone.length > 0 && optimizer!.length > 0);
  const before = await readCheckpoint(start);
  assert.equal(before.valueHead, undefined);
  const norm = "PaliGemma/llm/final_norm/scale";
  const [scaleAfter, scaleBefore] = [actorBackbone, before.actorBackbone].map((tensors) =>
    tensors.find((t) => t.name === norm)!.data
  );
  assert.ok(scaleAfter.some((x, i) => x !== scaleBefore[i]));

  const lines = await readMetrics("train");
  assert.deepEqual(lines.map((line) => line.step), [1, 2]);
  const inFloat32 = "behaviourGapMax.float32.wasm";
  assert.equal(lines[0][inFloat32], first.behaviourGapMax);
  for (const line of lines) {
    for (const key of METRICS) {
      assert.ok(line[key] === null || Number.isFinite(line[key]), `${key} is ${line[key]}`);
    }
  }
  const [record] = readRows("train", "SELECT * FROM runs");
  assert.equal(record.outcome, "finished");
  assert.ok(Number(record.ended_at) >= Number(record.started_at));
  const episodes = readRows("train", "SELECT * FROM episodes");
  // Those that finished after the last update are recorded too.
  assert.ok(episodes.length > 0 && episodes.length >= Number(summary.episodes));
  const made = readRows("train", "SELECT step, reward_environment FROM updates ORDER BY step");
  assert.deepEqual(
    made.map((row) => [row.step, row.reward_environment]),
    updates.map((e) => [e.update, e.rewardEnvironment]),
  );
  const saved = readRows("train", "SELECT path, step, policy_version FROM checkpoints");
  assert.deepEqual(saved.map((row) => ({ ...row })), [
    { path: `${folder}/train/step_2`, step: 2, policy_version: 2 },
  ]);
  checkPages(run, watched, 1000 * Math.max(...updates.map((e) => Number(e.updateSeconds))));
}

function checkPages(
  { learnerUrl, controllerUrl }: { learnerUrl: string; controllerUrl: string },
  { bodies, healthMs }: Awaited<ReturnType<typeof watch>>,
  longestUpdateMs: number,
): void {
  for (const source of ["environment", "human", "intrinsic"]) {
    assert.match(
      bodies.get(`${learnerUrl}/metrics`)!,
      RegExp(`^tendon_learner_reward_${source} `, "m"),
    );
  }
  assert.match(bodies.get(`${controllerUrl}/metrics`)!, /tendon_controller_connected/);
  const learner = JSON.parse(bodies.get(`${learnerUrl}/status`)!);
  assert.equal(learner.controllers.length, 1);
  const controller = JSON.parse(bodies.get(`${controllerUrl}/status`)!);
  assert.equal(controller.robots, 2);
  const p95 = timeWeightedP95(healthMs);
  const max = Math.max(...healthMs);
  const measured = `p95 ${p95.toFixed(0)} ms, max ${max.toFixed(0)} ms of ${healthMs.length}`;
  // On a machine that is short of cores everything is slower, updates too; a server that updates
  // block is late by a whole one.
  assert.ok(
    p95 < Math.max(MAX_BUSY_MS, longestUpdateMs / 4),
    `the learner's /healthz took ${measured}`,
  );
}

async function resumeRun(): Promise<void> {
  const { summary, updates } = await runBoth(settings("train", "", 3));
  assert.deepEqual(updates.map((e) => e.update), [3]);
  assert.equal(summary.policyVersion, 3);
  assert.equal(summary.chunksTrained, 24);
  assert.deepEqual((await readMetrics("train")).map((line) => line.step), [1, 2, 3]);
  assert.equal(readRows("train", "SELECT * FROM runs").length, 2);
  const { metadata } = await readCheckpoint(`${folder}/train/step_3`);
  assert.equal(metadata.training.optimizerSteps, 6);
}

async function startFromTrained(): Promise<void> {
  const args = [
    ...[...settings("onward", `${folder}/train/step_2`, 1), "--train-vision"],
    ...[
      "--decoupled",
      "--value-normalization",
      "--micro-batch-size",
      "2",
      "--ratio-level",
      "token",
    ],
    ...["--intrinsic-reward-weight", "0.1", "--discounting", "step", "--value-loss", "huber"],
  ];
  const { summary, updates } = await runBoth(args);
  assert.deepEqual(updates.map((e) => [e.update, e.policyVersion]), [[1, 3]]);
  const [{ effectiveSampleSize, behaviourRatioMean, returnDeviation }] = updates;
  // Fresh chunks of float32 policies: their weights are 1 but for rounding.
  assert.ok(Number(effectiveSampleSize) > 0.999 && Number(effectiveSampleSize) <= 1);
  assert.ok(Math.abs(Number(behaviourRatioMean) - 1) < 1e-3);
  assert.notEqual(returnDeviation, 1);
  assert.equal(summary.checkpoint, `${folder}/onward/step_1`);
  const { metadata } = await readCheckpoint(`${folder}/onward/step_1`);
  assert.equal(metadata.training.chunks, 8);
  assert.equal(metadata.training.optimizerSteps, 2);
}

async function killRun(start: string): Promise<void> {
  const args = [...settings("killed", start, 5), "--save-every-updates", "1"];
  const first = startLearner(args);
  const url = await urlOf(first);
  await using controller = startController(url, args);
  try {
    // The line of update 2 comes after the checkpoint of update 1.
    await first.event("update", (e) => e.update === 2);
  } finally {
    await first.kill();
  }
  const resumed = settings("killed", "", 5);
  await using second = startLearner(resumed, Number(new URL(url).port));
  const ends = await Promise.all([second.end(), controller.end()]);
  for (const { code, stderr } of ends) assert.equal(code, 0, stderr);
  const [summary] = second.events.slice(-1);
  assert.equal(summary.updates, 5);
  // Versions that were published after the checkpoint are not given to other weights.
  const [earlier] = first.events.filter((e) => e.event === "update").slice(-1);
  const updates = second.events.filter((e) => e.event === "update");
  assert.ok(updates.every((e) => Number(e.policyVersion) > Number(earlier.policyVersion)));
  assert.equal(summary.policyVersion, updates.at(-1)!.policyVersion);
  assert.equal(summary.chunksTrained, 40);
  assert.equal((ends[1].stderr.match(/Connected to the learner/g) ?? []).length, 2);
  const runs = readRows("killed", "SELECT outcome FROM runs ORDER BY started_at");
  assert.deepEqual(runs.map((row) => row.outcome), [null, "finished"]);
  assert.equal(readRows("killed", "SELECT * FROM episodes").length > 0, true);
}

async function stopRun(start: string): Promise<void> {
  const args = settings("stopped", start, 1000);
  await using learner = startLearner(args);
  await using controller = startController(await urlOf(learner), args);
  await learner.event("update", (e) => e.update === 1);
  learner.stop();
  const { code, stderr } = await learner.end();
  assert.equal(code, 0, stderr);
  const [summary] = learner.events.slice(-1);
  const { metadata } = await readCheckpoint(String(summary.checkpoint));
  assert.equal(metadata.training.updates, summary.updates);
  assert.equal(metadata.training.optimizerSteps, 2 * Number(summary.updates));
  assert.deepEqual(readRows("stopped", "SELECT outcome FROM runs")[0].outcome, "stopped");
  controller.stop();
  assert.equal((await controller.end()).code, 0);
}

async function refuse(start: string): Promise<void> {
  const other = await pretrain(folder, "other", ["--fast-vocab", "200", "--seed", "9"]);
  const args = settings("refused", start, 1);
  await using learner = startLearner(args);
  await using controller = startController(
    await urlOf(learner),
    settings("refused", other, 1),
  );
  const { code, stderr } = await controller.end();
  assert.equal(code, 1, stderr);
  const last = stderr.split("\n").at(-1)!;
  assert.match(last, /tokenizer/);
  assert.doesNotMatch(stderr, /^\s+at /m);
}

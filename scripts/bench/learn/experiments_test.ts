import assert from "node:assert/strict";
import { PRESETS } from "../../../common/config/presets.ts";
import { measuredUpdates, missingUpdates } from "./evaluate_run.ts";
import { EXPERIMENTS } from "./experiments.ts";
import { madeUpRun } from "./testing.ts";
import { planRun, settingsOf } from "./train_run.ts";

Deno.test("every variant of every experiment is a valid configuration, unlike the others", () => {
  for (const experiment of EXPERIMENTS) {
    assert.match(experiment.name, /^[a-z0-9_]+$/);
    const plans = experiment.variants.map((variant) => {
      assert.match(variant.name, /^[a-z0-9_]+$/);
      return planRun(experiment, variant, 3, {}, "checkpoints");
    });
    const settings = plans.map((plan) => JSON.stringify(settingsOf(plan)));
    assert.equal(new Set(settings).size, plans.length, experiment.name);
    assert.equal(new Set(plans.map(({ config }) => config.expName)).size, plans.length);
    for (const { config, controller } of plans) {
      assert.equal(config.seed, 3);
      assert.equal(config.wandb, false);
      assert.equal(controller.expName, config.expName);
    }
  }
});

Deno.test("reach is the demo preset, which takes half the chunks of its first version", () => {
  const reach = EXPERIMENTS.find(({ name }) => name === "reach")!;
  const config = (name: string) =>
    planRun(reach, reach.variants.find((v) => v.name === name)!, 0, {}, "checkpoints").config;
  const { chunksPerUpdate, updates, learningRate, epochs, decoupled } = PRESETS.demo;
  const now = config("default"), first = config("first");
  assert.deepEqual(
    [now.chunksPerUpdate, now.updates, now.learningRate, now.epochs, now.decoupled],
    [chunksPerUpdate, updates, learningRate, epochs, decoupled],
  );
  assert.equal(2 * now.updates * now.chunksPerUpdate, first.updates * first.chunksPerUpdate);
});

Deno.test("planRun() lets the command line win, and refuses what contradicts itself", () => {
  const [experiment] = EXPERIMENTS;
  const [variant] = experiment.variants;
  const plan = planRun(experiment, variant, 0, { updates: 3, holdWeights: 1 }, "x");
  assert.equal(plan.config.updates, 3);
  assert.equal(settingsOf(plan).holdWeights, 1);
  assert.throws(
    () => planRun(experiment, variant, 0, { batchSize: 100_000 }, "x"),
    RangeError,
  );
});

Deno.test("settingsOf() tells the controller's own settings apart", () => {
  const ablations = EXPERIMENTS.find(({ name }) => name === "ablations")!;
  const int8 = ablations.variants.find(({ name }) => name === "int8_behaviour")!;
  const plan = planRun(ablations, int8, 0, {}, "checkpoints");
  assert.equal(plan.config.precision, "float32");
  assert.equal(settingsOf(plan)["controller.precision"], "int8");
});

Deno.test("measuredUpdates() are the start, every checkpoint and the end, each once", () => {
  assert.deepEqual(measuredUpdates({ saveEveryUpdates: 2 }, 5), [0, 2, 4, 5]);
  assert.deepEqual(measuredUpdates({ saveEveryUpdates: 5 }, 5), [0, 5]);
  assert.deepEqual(measuredUpdates({ saveEveryUpdates: 0 }, 5), [0, 5]);
  assert.deepEqual(measuredUpdates({ saveEveryUpdates: 3 }, 0), [0]);
});

Deno.test("missingUpdates() leaves out what was measured before a stop", () => {
  const [experiment] = EXPERIMENTS;
  const plan = planRun(experiment, experiment.variants[0], 0, { saveEveryUpdates: 1 }, "x");
  const run = madeUpRun("default", 0, [0.4, 0.5, 0.6, 0.7]);
  assert.deepEqual(missingUpdates(plan, run), []);
  const stopped = { ...run, evaluations: run.evaluations.slice(0, 2) };
  assert.deepEqual(missingUpdates(plan, stopped), [2, 3]);
});

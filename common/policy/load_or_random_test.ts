import assert from "node:assert/strict";
import { join } from "node:path";
import { inOneBlock, writeSafetensorsBlocks } from "../checkpoint/block_writer.ts";
import { writeCheckpoint } from "../checkpoint/checkpoint.ts";
import { writeOrbaxCheckpoint } from "../checkpoint/orbax_export.ts";
import { sampleInfo, TempDir } from "../checkpoint/testing.ts";
import { PRESETS } from "../config/presets.ts";
import { saveLanguageFiles } from "../tokenizer/language.ts";
import { saveNormStats } from "../tokenizer/normalization.ts";
import type { HostTensor } from "../types.ts";
import { useDevice } from "./backend.ts";
import { chooseCheckpoint } from "./choose_checkpoint.ts";
import { ASSET_PATHS, loadPolicy } from "./load.ts";
import { chooseOrRandom } from "./load_failure.ts";
import { loadOrRandom } from "./load_or_random.ts";
import { backboneSpecs, valueHeadSpecs } from "./parameters.ts";
import {
  ACTION_DIM,
  countTensors,
  drawEverything,
  HORIZON,
  languageFiles,
  makeAssets,
  makeObservations,
  makeStats,
  normalSource,
} from "./testing.ts";
import { VARIANTS } from "./variants.ts";

const CONFIG = {
  ...PRESETS.debug,
  variant: "tiny",
  actionDim: ACTION_DIM,
  horizon: HORIZON,
  maxTokenLen: 64,
  valueHeadHiddenDim: 12,
} as const;
const options = () => ({ ...CONFIG, normal: normalSource(9) });
const backbone = () => [...drawEverything(backboneSpecs(VARIANTS.tiny), 1).values()];
const head = () => [...drawEverything(valueHeadSpecs(64, 12), 2).values()];

/** Write what a policy needs beside its weights. */
async function writeAssets(dir: string, statsPath: string = ASSET_PATHS.stats): Promise<void> {
  const assets = join(dir, "assets");
  await makeAssets().fast.save(join(assets, ASSET_PATHS.fast));
  await saveLanguageFiles(join(assets, ASSET_PATHS.language), languageFiles());
  await Deno.mkdir(join(assets, statsPath, ".."), { recursive: true });
  await saveNormStats(join(assets, statsPath), makeStats());
}

async function writeTendon(dir: string, actorBackbone: HostTensor[]): Promise<void> {
  const { variant, actionDim, horizon, maxTokenLen } = CONFIG;
  await writeCheckpoint(dir, {
    info: sampleInfo({ kind: "imitation", model: { variant, actionDim, horizon, maxTokenLen } }),
    actorBackbone,
  });
  await writeAssets(dir);
}

Deno.test("loadPolicy() loads openpi's step folder with its own asset id", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = join(folder.path, "29999");
  await writeOrbaxCheckpoint(dir, { actorBackbone: backbone().map(inOneBlock) });
  await writeAssets(dir, "physical/trossen/norm_stats.json");
  const before = countTensors();
  for (const path of [dir, join(dir, "params")]) {
    const { metadata } = await chooseCheckpoint({ ...CONFIG, checkpoint: path });
    assert.deepEqual([metadata.kind, metadata.policyVersion], ["imitation", 0]);
    const { policy, notes, initialization } = await loadPolicy(path, options());
    using _policy = policy;
    assert.equal(initialization, "checkpoint");
    assert.match(notes[0], /is a checkpoint of openpi \(orbax-zarr\)$/);
    assert.match(notes[1], /is an imitation checkpoint without a critic: added a fresh value head/);
    assert.deepEqual(await policy.network.backbone.toHost(), backbone());
    await policy.sampleActions(makeObservations(1, 1, 56), { temperature: 0, random: () => 0 });
  }
  assert.equal(countTensors(), before);
});

Deno.test("loadPolicy() loads Tendon's weights without metadata, critic and all", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  await writeAssets(folder.path);
  await writeSafetensorsBlocks(join(folder.path, "model.safetensors"), [
    ...backbone().map((t) => inOneBlock({ ...t, name: `actor_backbone/${t.name}` })),
    ...head().map((t) => inOneBlock({ ...t, name: `value_head/${t.name}` })),
  ], "F32");
  const { policy } = await loadPolicy(folder.path, options());
  using _policy = policy;
  assert.deepEqual(await policy.network.valueHead.toHost(), head());
  const { variant: _, ...unknown } = options();
  await assert.rejects(loadPolicy(folder.path, unknown), {
    name: "CheckpointError",
    message: /it has no metadata.json, so the model must be given with --variant, /,
  });
});

Deno.test("loadPolicy() says which files to put where when assets are missing", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = join(folder.path, "x");
  await writeOrbaxCheckpoint(dir, { actorBackbone: backbone().map(inOneBlock) });
  const assets = join(dir, "assets");
  await assert.rejects(loadPolicy(dir, options()), (error: Error) => {
    for (
      const part of [
        `FAST's tokenizer.json in ${assets}/fast`,
        `FAST's processor_config.json in ${assets}/fast`,
        `the language tokenizer's tokenizer.json in ${assets}/language`,
        `the normalisation statistics as ${assets}/aloha/norm_stats.json`,
      ]
    ) assert.ok(error.message.includes(part), error.message);
    return error.name === "CheckpointError";
  });
  await writeAssets(dir, "a/norm_stats.json");
  await writeAssets(dir, "b/norm_stats.json");
  await assert.rejects(
    loadPolicy(dir, options()),
    /has a\/norm_stats.json, b\/norm_stats.json; copy/,
  );
});

Deno.test("loadOrRandom() draws a policy with a loud warning, or aborts when told to", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = join(folder.path, "step_1");
  await writeTendon(dir, backbone().slice(2));
  const before = countTensors();
  await assert.rejects(loadOrRandom(dir, options(), "abort"), /missing \(2\):/);
  assert.equal(countTensors(), before);
  const { policy, notes, initialization, checkpoint } = await loadOrRandom(
    dir,
    options(),
    "random",
  );
  {
    using _policy = policy;
    assert.equal(initialization, "random");
    assert.equal(checkpoint.metadata.initialization, "random");
    const lines = notes[0].split("\n");
    assert.match(lines[0], /^#+ RANDOM POLICY #+$/);
    assert.ok(lines.some((line) => line.includes("missing (2):")), notes[0]);
    assert.match(notes[0], /--on-load-failure abort/);
    await policy.sampleActions(makeObservations(1, 1, 56), { temperature: 0, random: () => 0 });
  }
  assert.equal(countTensors(), before);
});

Deno.test("loadOrRandom() aborts when tokenizers and statistics cannot be read either", async () => {
  using folder = new TempDir();
  const dir = join(folder.path, "step_1");
  await writeTendon(dir, backbone().slice(1));
  await Deno.remove(join(dir, "assets/language"), { recursive: true });
  await assert.rejects(loadOrRandom(dir, options(), "random"), {
    name: "CheckpointError",
    message: /missing \(1\):[^]*A random policy cannot take its place, .*language/,
  });
});

Deno.test("chooseOrRandom() lets damage pass for a named checkpoint only, never a contradiction", async () => {
  using folder = new TempDir();
  const checkpoint = join(folder.path, "run", "step_1");
  await writeTendon(checkpoint, backbone());
  const config = { ...CONFIG, checkpoint, checkpointDir: folder.path, expName: "run" };
  await assert.rejects(
    chooseOrRandom({ ...config, horizon: 9 }, "random"),
    /the configuration says 9/,
  );
  await Deno.truncate(join(checkpoint, "params/model.safetensors"), 1000);
  const choice = await chooseOrRandom(config, "random");
  assert.deepEqual([choice.path, choice.metadata.policyVersion], [checkpoint, 0]);
  await assert.rejects(chooseOrRandom(config, "abort"), /is truncated/);
  const resumed = { ...config, checkpoint: "", resume: true };
  await assert.rejects(chooseOrRandom(resumed, "random"), /Cannot resume/);
});

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  LEROBOT_ACTION_DIM,
  LEROBOT_HORIZON,
  LEROBOT_STATS,
  lerobotConfig,
  writeLerobotFolder,
} from "../checkpoint/lerobot_testing.ts";
import { TempDir } from "../checkpoint/testing.ts";
import { PRESETS } from "../config/presets.ts";
import { toRobotActions } from "./action_transform.ts";
import { useDevice } from "./backend.ts";
import { chooseCheckpoint, SHIPPED_CHECKPOINTS } from "./choose_checkpoint.ts";
import { loadPolicy, policySignature, readAssetFiles } from "./load.ts";
import { describeCheckpoint } from "./load_description.ts";
import { chooseOrRandom } from "./load_failure.ts";
import { loadOrRandom } from "./load_or_random.ts";
import { countTensors, makeObservations, normalSource } from "./testing.ts";

const CONFIG = { ...PRESETS.demo, valueHeadHiddenDim: 8, maxTokenLen: 100 };
const options = (changes: Partial<typeof PRESETS.demo> = {}) => ({
  ...CONFIG,
  ...changes,
  normal: normalSource(9),
});
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a} is not ${b}`);

Deno.test("a LeRobot folder loads by itself and acts by LeRobot's conventions", async () => {
  await useDevice("wasm");
  using temp = new TempDir();
  await writeLerobotFolder(temp.path);
  const before = countTensors();
  {
    // The preset's sizes are another model's: the folder says its own.
    const { policy, notes, checkpoint } = await loadPolicy(
      temp.path,
      options({ horizon: 7, actionDim: 7, maxTokenLen: 33, variant: "gemma_2b" }),
    );
    using _policy = policy;
    const { horizon, actionDim, maxTokenLen, actionMode, variant } = policy.shape;
    assert.deepEqual([horizon, actionDim, maxTokenLen], [LEROBOT_HORIZON, LEROBOT_ACTION_DIM, 100]);
    assert.equal(variant.name, "tiny");
    assert.equal(policy.dialect.name, "lerobot");
    assert.equal(actionMode, "absolute");
    assert.deepEqual(checkpoint.metadata.model, {
      variant: "tiny",
      actionDim: 14,
      horizon: 10,
      maxTokenLen: 100,
      dialect: "lerobot",
      normalization: "mean_std",
      actionMode: "absolute",
      adaptToPi: false,
    });
    assert.match(notes[0], /is a checkpoint of lerobot \(safetensors\)$/);
    assert.match(
      notes[1],
      /^this checkpoint was trained on the cameras cam_high, cam_left_wrist, cam_right_wrist/,
    );

    const [observation] = makeObservations(2, 1, 56);
    const { language, stats } = policy.assets;
    assert.equal(stats.actions.mode, "mean_std");
    // The mean is bin 128 of 256: LeRobot's 0.
    const state = Float32Array.from(stats.state.mean);
    const { prompts: [prompt] } = policy.prepareInput([{ ...observation, state }]).ids;
    assert.equal(prompt.at(-1), language.bosId, "LeRobot's second BOS");
    const words = language.encode(`State: ${Array(LEROBOT_ACTION_DIM).fill(128).join(" ")};`);
    assert.ok([...prompt].join().includes([...words].join()));

    const [chunk] = await policy.sampleActions([observation], { temperature: 0, random: () => 0 });
    const targets = toRobotActions(chunk.actions, observation.state, 14, stats, policy.shape);
    chunk.actions.forEach((x, i) => {
      const d = i % LEROBOT_ACTION_DIM;
      near(
        targets[i],
        x * (LEROBOT_STATS.action.std + d / 100) + LEROBOT_STATS.action.mean + d / 100,
      );
    });
    const signature = policySignature(policy, 1);
    assert.deepEqual([signature.dialect, signature.actions], ["lerobot", "absolute"]);
  }
  assert.equal(countTensors(), before);
  const carried = (await readAssetFiles(temp.path)).get("aloha/norm_stats.json");
  const text = new TextDecoder().decode(carried);
  assert.equal(JSON.parse(text).norm_stats.actions.mean.length, LEROBOT_ACTION_DIM);
});

Deno.test("describeCheckpoint() resolves auto: the metadata's, whose it is, openpi's", async () => {
  using temp = new TempDir();
  await writeLerobotFolder(temp.path, { config: { use_relative_actions: true } });
  const modelOf = async (path: string, changes: Partial<typeof PRESETS.demo> = {}) => {
    const { model } = await describeCheckpoint(path, { ...CONFIG, ...changes });
    return [model.dialect, model.actionMode, model.normalization];
  };
  assert.deepEqual(await modelOf(temp.path), ["lerobot", "delta_all", "mean_std"]);
  assert.deepEqual(await modelOf(temp.path, { dialect: "openpi" }), [
    ...["openpi", "delta_all", "mean_std"],
  ]);
  await Deno.remove(join(temp.path, "config.json"));
  assert.deepEqual(await modelOf(temp.path), ["lerobot", undefined, undefined]);
  assert.deepEqual(await modelOf(temp.path, { actionMode: "absolute" }), [
    ...["lerobot", "absolute", undefined],
  ]);
  const shipped = (name: string) => SHIPPED_CHECKPOINTS.find((path) => path.endsWith(name))!;
  // Older metadata says nothing of conventions.
  assert.deepEqual(await modelOf(shipped("reach_debug")), [undefined, undefined, undefined]);
  assert.deepEqual(await modelOf(shipped("reach")), ["openpi", "delta", undefined]);
  const params = join(shipped("reach"), "params");
  assert.deepEqual(await modelOf(params), ["openpi", undefined, undefined]);
  assert.deepEqual(await modelOf(params, { dialect: "lerobot" }), [
    ...["lerobot", undefined, undefined],
  ]);
});

Deno.test("chooseCheckpoint() says what a flag contradicts, in a folder and in metadata", async () => {
  using temp = new TempDir();
  await writeLerobotFolder(temp.path);
  const config = { ...CONFIG, checkpoint: temp.path };
  assert.equal((await chooseCheckpoint(config)).metadata.model.dialect, "lerobot");
  const cases: [Partial<typeof PRESETS.demo>, RegExp][] = [
    [{ horizon: 9 }, /its horizon is 10, the configuration says 9; set the flags to match/],
    [{ maxTokenLen: 64 }, /its maxTokenLen is 100, the configuration says 64; set/],
    [{ variant: "gemma_2b" }, /its variant is tiny, the configuration says gemma_2b; set/],
    [{ actionMode: "delta" }, /its actionMode is absolute, the configuration says delta; set/],
  ];
  for (const [changes, message] of cases) {
    const wrong = chooseOrRandom({ ...config, ...changes }, "random");
    await assert.rejects(wrong, { name: "CheckpointError", message });
  }
  const shipped = { ...PRESETS.demo, checkpoint: SHIPPED_CHECKPOINTS[0] };
  await chooseCheckpoint({ ...shipped, actionMode: "delta", dialect: "openpi" });
  await assert.rejects(
    chooseCheckpoint({ ...shipped, actionMode: "absolute", dialect: "lerobot" }),
    /its actionMode is delta, .* says absolute, its dialect is openpi, .* says lerobot; set/,
  );
});

Deno.test("a LeRobot folder whose files do not go together is refused with one sentence", async () => {
  await useDevice("wasm");
  using temp = new TempDir();
  const quantiles = { STATE: "QUANTILES", ACTION: "QUANTILES" };
  const short = [0, 0, 0, 0, 0, 0, 0];
  const cases: [Parameters<typeof writeLerobotFolder>[1], RegExp][] = [
    [{ config: { type: "act" } }, /the policy's type is "act"/],
    [
      { config: { fast_skip_tokens: 128 } },
      /its fast_skip_tokens is 128, but in variant tiny the 8/,
    ],
    [
      { config: { normalization_mapping: quantiles } },
      /config.json normalises by lerobot_quantile, its policy_preprocessor.json by mean_std/,
    ],
    [
      { config: { normalization_mapping: quantiles }, normalizer: { config: {} } },
      /^Cannot normalise by quantiles: the statistics of state have no q01 and q99; compute/,
    ],
    [
      { stats: { "action.mean": short, "action.std": short } },
      /its statistics are of 14 numbers of the state and 7 of the actions, but its actions have 14/,
    ],
  ];
  const before = countTensors();
  for (const [i, [folder, message]] of cases.entries()) {
    const dir = join(temp.path, `${i}`);
    await writeLerobotFolder(dir, folder);
    await assert.rejects(loadPolicy(dir, options()), (error: Error) => {
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /\n/);
      return true;
    });
  }
  const bare = join(temp.path, "bare");
  await writeLerobotFolder(bare, { hasTokenizers: false });
  const assets = join(bare, "assets");
  await assert.rejects(loadPolicy(bare, options()), {
    name: "CheckpointError",
    message: `Cannot use checkpoint ${bare}: files beside its weights are missing; put ` +
      ["tokenizer.json", "processor_config.json"].map((name) =>
        `FAST's ${name} in ${assets}/fast (from lerobot/fast-action-tokenizer on Hugging Face), `
      ).join("") +
      `the language tokenizer's tokenizer.json in ${assets}/language (from ` +
      `google/paligemma-3b-pt-224 on Hugging Face).`,
  });
  assert.equal(countTensors(), before);
});

Deno.test("a random policy in the place of damaged LeRobot weights keeps their conventions", async () => {
  await useDevice("wasm");
  using temp = new TempDir();
  await writeLerobotFolder(temp.path);
  await Deno.truncate(join(temp.path, "model.safetensors"), 1000);
  const { metadata } = await chooseOrRandom({ ...CONFIG, checkpoint: temp.path }, "random");
  assert.equal(metadata.model.actionMode, "absolute");
  const { policy, initialization } = await loadOrRandom(temp.path, options(), "random");
  using _policy = policy;
  assert.equal(initialization, "random");
  assert.equal(policy.dialect.name, "lerobot");
  assert.equal(policy.shape.horizon, lerobotConfig().chunk_size);
});

import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type LerobotConfig,
  parseLerobotConfig,
  readLerobotConfig,
  weightsFolder,
} from "./lerobot_config.ts";
import { readLerobotStats } from "./lerobot_stats.ts";
import {
  type JsonRecord,
  LEROBOT_ACTION_DIM as A,
  lerobotConfig,
  lerobotPipeline,
  writeLerobotFolder,
} from "./lerobot_testing.ts";
import { TempDir } from "./testing.ts";

const encode = (json: unknown) => new TextEncoder().encode(JSON.stringify(json));
const parse = (changes: JsonRecord = {}): LerobotConfig =>
  parseLerobotConfig(encode(lerobotConfig(changes)), "config.json");
const JOINTS = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate"];
const NAMES = ["left", "right"].flatMap((side) =>
  [...JOINTS, "gripper"].map((joint) => `${side}_${joint}`)
);

Deno.test("parseLerobotConfig() reads what the policy was trained with", () => {
  assert.deepEqual(parse(), {
    path: "config.json",
    horizon: 10,
    actionDim: 14,
    maxTokenLen: 100,
    actionMode: "absolute",
    normalization: "mean_std",
    fastSkipTokens: 8,
    textTokenizer: "google/paligemma-3b-pt-224",
    actionTokenizer: "lerobot/fast-action-tokenizer",
    cameras: ["cam_high", "cam_left_wrist", "cam_right_wrist"],
  });
  const mapping = { STATE: "QUANTILES", ACTION: "QUANTILES" };
  assert.equal(parse({ normalization_mapping: mapping }).normalization, "lerobot_quantile");
});

Deno.test("parseLerobotConfig() takes LeRobot's defaults for what is absent", () => {
  const { chunk_size, output_features, type } = lerobotConfig();
  const config = parseLerobotConfig(encode({ type, chunk_size, output_features }), "c");
  assert.equal(config.maxTokenLen, 456);
  assert.equal(config.actionMode, "absolute");
  assert.equal(config.normalization, "mean_std");
  assert.equal(config.fastSkipTokens, 128);
});

Deno.test("parseLerobotConfig() finds out which actions are relative as LeRobot does", () => {
  const relative = { use_relative_actions: true, action_feature_names: NAMES };
  const cases: [JsonRecord, LerobotConfig["actionMode"]][] = [
    [relative, "delta"],
    [{ ...relative, relative_exclude_joints: ["left_gripper", "RIGHT_gripper"] }, "delta"],
    [{ ...relative, relative_exclude_joints: [] }, "delta_all"],
    [{ ...relative, relative_exclude_joints: ["finger"] }, "delta_all"],
    // Without names LeRobot excludes nothing.
    [{ ...relative, action_feature_names: null }, "delta_all"],
    [{ ...relative, use_relative_actions: false }, "absolute"],
  ];
  for (const [changes, mode] of cases) assert.equal(parse(changes).actionMode, mode);
  assert.throws(() => parse({ ...relative, relative_exclude_joints: ["waist", "gripper"] }), {
    name: "CheckpointError",
    message: /^Cannot use config.json: its actions are relative except left_waist, left_gripper, /,
  });
});

Deno.test("parseLerobotConfig() refuses with one sentence what Tendon cannot honour", () => {
  const action = (shape: number[]) => ({ action: { type: "ACTION", shape } });
  const cases: [JsonRecord, RegExp][] = [
    [{ type: "pi0" }, /the policy's type is "pi0", but only LeRobot's "pi0_fast" is read/],
    [{ type: undefined }, /the policy's type is not given/],
    [{ chunk_size: "50" }, /: chunk_size is wrong \(/],
    [{ chunk_size: 0 }, /: chunk_size is wrong \(/],
    [{ output_features: {} }, /: output_features.action is wrong \(/],
    [
      { output_features: action([6]) },
      /its actions have the shape \[6\], but an ALOHA robot takes/,
    ],
    [{ output_features: action([7]) }, /its state has the shape \[14\] and its actions \[7\]/],
    [{ use_relative_actions: "yes" }, /: use_relative_actions is wrong \(/],
    [
      { normalization_mapping: { STATE: "MEAN_STD", ACTION: "QUANTILES" } },
      /it normalises STATE by MEAN_STD and ACTION by QUANTILES, but both must be one of/,
    ],
    [{ normalization_mapping: { STATE: "MIN_MAX", ACTION: "MIN_MAX" } }, /STATE by MIN_MAX and/],
    [{ normalization_mapping: {} }, /normalises STATE by IDENTITY and ACTION by IDENTITY/],
  ];
  for (const [changes, message] of cases) {
    assert.throws(() => parse(changes), (error: Error) => {
      assert.equal(error.name, "CheckpointError");
      assert.match(error.message, message);
      assert.match(error.message, /^Cannot use config.json: [^\n]+\.$/);
      return true;
    });
  }
  for (const bytes of [new Uint8Array([0xff]), new TextEncoder().encode('{"type": ')]) {
    assert.throws(
      () => parseLerobotConfig(bytes, "c"),
      /^CheckpointError: Cannot read c: it is not/,
    );
  }
  for (const json of [null, [], 3, "pi0_fast"]) {
    assert.throws(() => parseLerobotConfig(encode(json), "c"), /the policy's type is not given/);
  }
});

Deno.test("weightsFolder() finds the one folder with weights, at most two levels below", async () => {
  using temp = new TempDir();
  const folder = join(temp.path, "last", "pretrained_model");
  await writeLerobotFolder(folder, { hasTokenizers: false });
  for (const path of [temp.path, folder, join(folder, "model.safetensors")]) {
    assert.equal(await weightsFolder(path), folder);
    assert.equal((await readLerobotConfig(path))?.horizon, 10);
  }
  assert.equal(await weightsFolder(join(temp.path, "none")), undefined);
  await Deno.mkdir(join(temp.path, "other"));
  await Deno.copyFile(
    join(folder, "model.safetensors"),
    join(temp.path, "other", "model.safetensors"),
  );
  assert.equal(await readLerobotConfig(temp.path), undefined);
});

Deno.test("readLerobotStats() reads mean and deviation, and percentiles where there are any", async () => {
  using temp = new TempDir();
  const [plain, full] = ["plain", "full"].map((name) => join(temp.path, name));
  await writeLerobotFolder(plain, { hasTokenizers: false });
  const read = await readLerobotStats(plain);
  assert.equal(read?.normalization, "mean_std");
  assert.deepEqual(Object.keys(read.stats.state), ["mean", "std"]);
  assert.equal(read.stats.actions.mean.length, A);
  assert.equal(read.stats.actions.mean[3], Math.fround(-0.17));
  const [low, high] = [-1, 1].map((x) => new Array<number>(A).fill(x));
  const stats = { "action.q01": low, "action.q99": high };
  await writeLerobotFolder(full, { stats, hasTokenizers: false });
  assert.deepEqual((await readLerobotStats(full))?.stats.actions.q99, high);
  await Deno.remove(join(full, "policy_preprocessor.json"));
  assert.equal(await readLerobotStats(full), undefined);
});

Deno.test("readLerobotStats() refuses damaged files with one sentence", async () => {
  using temp = new TempDir();
  const list = new Array<number>(A).fill(0);
  const cases: [Parameters<typeof writeLerobotFolder>[1], RegExp][] = [
    [{ stats: { "action.std": undefined } }, /: action has no std\.$/],
    [
      { stats: { "observation.state.mean": undefined, "observation.state.std": undefined } },
      /: observation.state has no mean and no std\.$/,
    ],
    [
      { stats: { "action.std": [1, 2] } },
      /those of action are wrong \(mean, std, q01 and q99 diff/,
    ],
    [{ stats: { "action.mean": [NaN, ...list.slice(1)] } }, /of action are wrong \(mean.0: /],
    [{ stats: { "action.q01": list } }, /wrong \(q01 and q99 belong together, one of them is miss/],
    [
      { normalizer: { state_file: undefined } },
      /its normalizer_processor is not given, but it must/,
    ],
    [
      { normalizer: { state_file: "../x.safetensors" } },
      /is "..\/x.safetensors", but it must name/,
    ],
    [{ normalizer: { state_file: "none.safetensors" } }, /none.safetensors: there is no such file/],
    [{ normalizer: { config: { eps: 0.1 } } }, /adds 0.1 to deviations, but Tendon adds 1e-8\.$/],
    [{ normalizer: { config: { eps: "x" } } }, /but that step's config is damaged\.$/],
    [{ normalizer: { registry_name: "other" } }, /one step normalizer_processor, but it has 0\.$/],
    [
      { normalizer: { config: { norm_map: { STATE: "MEAN_STD" } } } },
      /it normalises STATE by MEAN_STD and ACTION by IDENTITY/,
    ],
  ];
  for (const [i, [folder, message]] of cases.entries()) {
    const dir = join(temp.path, `${i}`);
    await writeLerobotFolder(dir, { ...folder, hasTokenizers: false });
    await assert.rejects(readLerobotStats(dir), { name: "CheckpointError", message });
  }
  const dir = join(temp.path, "0");
  for (const text of ["{", "[]", '{"steps": 3}', JSON.stringify(lerobotPipeline()).slice(9)]) {
    await Deno.writeTextFile(join(dir, "policy_preprocessor.json"), text);
    await assert.rejects(readLerobotStats(dir), {
      name: "CheckpointError",
      message: /policy_preprocessor.json: (it is not JSON|it must be a pipeline of LeRobot's)/,
    });
  }
});

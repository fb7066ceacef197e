import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readCheckpoint } from "../../common/checkpoint/checkpoint.ts";
import { openTensorSource } from "../../common/checkpoint/open_source.ts";
import { writeSafetensors } from "../../common/checkpoint/safetensors.ts";
import { lerobotWeights, writeLerobotFolder } from "../../common/checkpoint/lerobot_testing.ts";
import { countingTensor, TempDir } from "../../common/checkpoint/testing.ts";
import { PRESETS } from "../../common/config/presets.ts";
import { useDevice } from "../../common/policy/backend.ts";
import { loadPolicy, readWeights } from "../../common/policy/load.ts";
import { normalSource } from "../../common/policy/testing.ts";
import { dequantizeTensor } from "../../common/quant/quantized_tensor.ts";
import { runConvert } from "./convert.ts";
import { runInspect } from "./inspect.ts";
import { ProgressBar } from "./progress_bar.ts";
import { tensorTree } from "./tensor_tree.ts";

const SHIPPED = fileURLToPath(new URL("../../common/pretrained/reach_debug", import.meta.url));

async function printed(
  run: typeof runInspect,
  ...args: string[]
): Promise<string> {
  const lines: string[] = [];
  await run(args, (line) => lines.push(line));
  return lines.join("\n");
}

Deno.test("inspect says what a checkpoint is, for people and as JSON", async () => {
  const text = await printed(runInspect, SHIPPED);
  for (
    const line of [
      /^kind +imitation: /m,
      /^size +1.24 MB uncompressed$/m,
      /^origin +tendon$/m,
      /^format +safetensors$/m,
    ]
      .concat([/^variant +tiny$/m, /^metadata.json:$/m, / input_embedding {2}\[640, 64\] F32$/m])
  ) assert.match(text, line);
  const json = JSON.parse(await printed(runInspect, "--json", SHIPPED));
  assert.deepEqual([json.kind, json.origin, json.variant], ["imitation", "tendon", "tiny"]);
  assert.equal(json.parameters, 309_184);
  assert.equal(json.bytes, 4 * json.parameters);
  assert.equal(json.metadata["metadata.json"].formatVersion, 1);
});

Deno.test("inspect shows the tensors of a model that it does not know", async () => {
  using temp = new TempDir();
  const path = join(temp.path, "other.safetensors");
  await writeSafetensors(path, [countingTensor("encoder.0.w", [2]), countingTensor("head", [])]);
  const text = await printed(runInspect, path);
  assert.match(text, /^kind +unknown$/m);
  assert.match(text, /^note +Cannot tell what .*other.safetensors is: /m);
  assert.match(text, /^head {2}\[\] F32$/m);
});

Deno.test("convert to orbax and back keeps every weight, and metadata is Tendon's own", async () => {
  using temp = new TempDir();
  const [orbax, back, half] = ["orbax", "back", "half"].map((name) => join(temp.path, name));
  await printed(runConvert, SHIPPED, orbax, "--format", "orbax");
  await Deno.stat(join(orbax, "assets/aloha/norm_stats.json"));
  const wrote = await printed(runConvert, orbax, back, "--format=safetensors");
  assert.match(
    wrote,
    /^Wrote .*back: imitation of tiny, 32 tensors .* from openpi's orbax-zarr\.$/,
  );
  const { actorBackbone } = await readCheckpoint(SHIPPED);
  using source = await openTensorSource(back);
  for (const { name, shape, data } of actorBackbone) {
    assert.deepEqual((await source.read(`actor_backbone/${name}`)).data, data);
    assert.deepEqual(source.tensors.find((t) => t.name.endsWith(name))?.shape, shape);
  }
  await printed(runConvert, "--dtype", "bfloat16", SHIPPED, half);
  const converted = await readCheckpoint(half);
  assert.equal(converted.metadata.kind, "imitation");
  assert.ok(converted.assets.has("fast/tokenizer.json"));
  const [first] = converted.actorBackbone;
  const original = actorBackbone.find(({ name }) => name === first.name)!;
  assert.ok(first.data.every((x, i) => Math.abs(x - original.data[i]) <= Math.abs(x) / 256));
});

Deno.test("inspect says what LeRobot's files beside the weights say", async () => {
  using temp = new TempDir();
  await writeLerobotFolder(temp.path, { hasTokenizers: false });
  const text = await printed(runInspect, temp.path);
  for (
    const line of [
      /^origin +lerobot$/m,
      /^variant +tiny$/m,
      /^dialect +lerobot$/m,
      /^chunk +10 steps of 14 numbers$/m,
      /^tokens +at most 100 of prompt and action$/m,
      /^actions +absolute$/m,
      /^normalises +mean_std$/m,
      /^cameras +cam_high, cam_left_wrist, cam_right_wrist$/m,
      /^tokenizers +google\/paligemma-3b-pt-224, lerobot\/fast-action-tokenizer$/m,
      /^statistics +.*policy_preprocessor_step_3_normalizer_processor.safetensors, without q01, q99$/m,
      /^policy_preprocessor.json:$/m,
    ]
  ) assert.match(text, line);
  const json = JSON.parse(await printed(runInspect, "--json", temp.path));
  assert.equal(json.lerobot.config.actionMode, "absolute");
  await Deno.writeTextFile(join(temp.path, "policy_preprocessor.json"), "[]");
  await Deno.writeTextFile(join(temp.path, "config.json"), '{"type": "act"}');
  const damaged = await printed(runInspect, temp.path);
  assert.match(damaged, /^config +none that can be used$/m);
  assert.match(damaged, /^note +Cannot use .*config.json: the policy's type is "act"/m);
  assert.match(damaged, /^note +Cannot use .*policy_preprocessor.json: it must be a pipeline/m);
});

Deno.test("convert makes a LeRobot folder a Tendon checkpoint that needs nothing else", async () => {
  await useDevice("wasm");
  using temp = new TempDir();
  const [src, dest, bare] = ["src", "dest", "bare"].map((name) => join(temp.path, name));
  await writeLerobotFolder(src);
  const text = await printed(runConvert, src, dest);
  assert.match(text, /^Wrote .*dest: imitation of tiny, .* from lerobot's safetensors\.$/m);
  assert.match(text, /^note: this checkpoint was trained on the cameras cam_high, /m);
  const { metadata, assets } = await readCheckpoint(dest);
  assert.deepEqual(metadata.model, {
    variant: "tiny",
    actionDim: 14,
    horizon: 10,
    maxTokenLen: 100,
    dialect: "lerobot",
    normalization: "mean_std",
    actionMode: "absolute",
  });
  assert.ok(assets.has("aloha/norm_stats.json"));
  await Deno.remove(src, { recursive: true });
  const { policy } = await loadPolicy(dest, { ...PRESETS.demo, normal: normalSource(1) });
  using _policy = policy;
  assert.equal(policy.dialect.name, "lerobot");
  assert.equal(policy.shape.actionMode, "absolute");
  assert.equal(policy.assets.stats.actions.mode, "mean_std");
  const norm = lerobotWeights().find(({ name }) => name.endsWith("language_model.norm.weight"))!;
  const weights = await readWeights(policy);
  const found = weights.find(({ name }) => name.endsWith("llm/final_norm/scale"))!;
  assert.deepEqual(found.data, norm.data);

  await writeLerobotFolder(src, { config: { type: "act" } });
  await assert.rejects(printed(runConvert, src, bare), /the policy's type is "act"/);
  await assert.rejects(Deno.stat(bare), Deno.errors.NotFound);
});

for (const bits of [8, 4] as const) {
  Deno.test(`convert --quantize int${bits} writes a policy that runs in ${bits} bits`, async () => {
    using temp = new TempDir();
    const dest = join(temp.path, "quantized");
    const text = await printed(runConvert, SHIPPED, dest, `--quantize=int${bits}`);
    assert.match(text, new RegExp(`4 matrices in ${bits} bits and 28 other tensors, 0\\.\\d MB`));
    const inspected = await printed(runInspect, dest);
    assert.match(inspected, new RegExp(`^tensors +32 of F32, I${bits}$`, "m"));

    const { actorBackbone } = await readCheckpoint(SHIPPED);
    const { quantized } = await readCheckpoint(dest);
    for (const { name, data } of actorBackbone) {
      const tensor = quantized?.get(name);
      if (tensor === undefined) continue;
      const most = data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const bound = most / (bits === 8 ? 250 : 13);
      const back = dequantizeTensor(tensor).data;
      assert.ok(back.every((x, i) => Math.abs(x - data[i]) <= bound), name);
    }

    await useDevice("cpu");
    const options = { ...PRESETS.debug, normal: normalSource(1) };
    const { policy, notes } = await loadPolicy(dest, options);
    using stored = policy;
    assert.equal(stored.network.backbone.precision, `int${bits}`);
    assert.match(notes.join(), new RegExp(`is stored in ${bits} bits`));
    const precision = `int${bits}` as const;
    using made = (await loadPolicy(SHIPPED, { ...options, precision })).policy;
    assert.deepEqual(await stored.network.backbone.toHost(), await made.network.backbone.toHost());
    const other = bits === 8 ? "int4" : "int8";
    await assert.rejects(
      loadPolicy(dest, { ...options, precision: other }),
      /^CheckpointError: .* it is stored in [84] bits; leave the flag out/,
    );

    const back = join(temp.path, "float32");
    await printed(runConvert, dest, back);
    using floats = (await loadPolicy(back, options)).policy;
    assert.deepEqual(await floats.network.backbone.toHost(), await made.network.backbone.toHost());
  });
}

Deno.test("checkpoint commands answer bad input with one sentence", async () => {
  using temp = new TempDir();
  const cases: [typeof runInspect, string[], RegExp][] = [
    [runInspect, [], /takes one path \(DIR\), but none is given\.$/],
    [runInspect, ["a", "b"], /but 2 are given\.$/],
    [runInspect, [join(temp.path, "none")], /there is no such file/],
    [runInspect, [temp.path], /it holds no checkpoint/],
    [runConvert, [SHIPPED], /takes 2 paths \(SRC DEST\), but one is given\.$/],
    [runConvert, [SHIPPED, `${SHIPPED}/x`], /one of them lies in the other/],
    [runConvert, [SHIPPED, temp.path, "--format", "zip"], /it takes one of safetensors, orbax/],
    [
      runConvert,
      [SHIPPED, temp.path, "--quantize=int8", "--dtype=float16"],
      /^--quantize int8 takes --format safetensors/,
    ],
    [runInspect, [SHIPPED, "--jsn"], /^Unknown flag --jsn: did you mean --json/],
  ];
  for (const [run, args, message] of cases) {
    await assert.rejects(printed(run, ...args), (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
  }
  assert.match(await printed(runConvert, "--help"), /^deno task checkpoint convert SRC DEST – /);
});

Deno.test("tensorTree() joins layers that look alike", () => {
  const layers = [0, 1, 2, 10].flatMap((i) => [
    { name: `m.layers.${i}.w`, shape: [2, i === 10 ? 3 : 2], dtype: "F32" },
    { name: `m.layers.${i}.b`, shape: [2], dtype: "BF16" },
  ]);
  assert.deepEqual(tensorTree(layers), [
    "m",
    "  layers",
    "    0…2",
    "      b  [2] BF16",
    "      w  [2, 2] F32",
    "    10",
    "      b  [2] BF16",
    "      w  [2, 3] F32",
  ]);
});

Deno.test("ProgressBar draws on a terminal only", () => {
  for (const isTerminal of [true, false]) {
    let text = "";
    let nowMs = 0;
    {
      const write = (more: string) => void (text += more);
      using bar = new ProgressBar("loading", { isTerminal, write, nowMs: () => nowMs });
      nowMs = 500;
      bar.update(50e6, 100e6);
      bar.update(51e6, 100e6); // too soon
      nowMs = 1000;
      bar.update(100e6, 100e6);
    }
    assert.equal(
      text,
      isTerminal
        ? `\rloading ${"█".repeat(15)}${"░".repeat(15)}  50 %   100 MB/s` +
          `\rloading ${"█".repeat(30)} 100 %   100 MB/s\n`
        : "",
    );
  }
});

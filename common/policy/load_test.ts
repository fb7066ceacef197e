import assert from "node:assert/strict";
import { join } from "node:path";
import { sampleInfo, TempDir } from "../checkpoint/testing.ts";
import { type CheckpointContent, writeCheckpoint } from "../checkpoint/checkpoint.ts";
import { saveLanguageFiles } from "../tokenizer/language.ts";
import { saveNormStats } from "../tokenizer/normalization.ts";
import { fitTokenizer, randomSource } from "../tokenizer/testing.ts";
import type { HostTensor } from "../types.ts";
import { ActorCritic } from "./actor_critic.ts";
import { useDevice } from "./backend.ts";
import {
  ASSET_PATHS,
  assignWeights,
  loadPolicy,
  policySignature,
  readAssetFiles,
  readWeights,
  splitWeights,
} from "./load.ts";
import { backboneSpecs, valueHeadSpecs } from "./parameters.ts";
import {
  ACTION_DIM,
  countTensors,
  drawEverything,
  HORIZON,
  languageFiles,
  makeAssets,
  makeObservations,
  makePolicy,
  makeStats,
  MICRO,
  normalSource,
} from "./testing.ts";
import { VARIANTS } from "./variants.ts";

const HIDDEN = 24;
const backbone = () => [...drawEverything(backboneSpecs(VARIANTS.tiny), 1).values()];
const head = () => [...drawEverything(valueHeadSpecs(64, HIDDEN), 2).values()];

const critic = () => ({
  valueHeadHiddenDim: 12,
  valueInput: "observation" as const,
  maxValueSteps: 5,
  isCriticDetached: false,
  normal: normalSource(9),
});

async function assetFiles(dir: string): Promise<Map<string, Uint8Array>> {
  await makeAssets().fast.save(join(dir, ASSET_PATHS.fast));
  await saveLanguageFiles(join(dir, ASSET_PATHS.language), languageFiles());
  await Deno.mkdir(join(dir, "aloha"));
  await saveNormStats(join(dir, ASSET_PATHS.stats), makeStats());
  const files = new Map<string, Uint8Array>();
  for (const folder of [ASSET_PATHS.fast, ASSET_PATHS.language, "aloha"]) {
    for await (const { name } of Deno.readDir(join(dir, folder))) {
      files.set(`${folder}/${name}`, await Deno.readFile(join(dir, folder, name)));
    }
  }
  return files;
}

/** Write a checkpoint of the tiny variant below `root` and return its folder. */
async function writeTiny(
  root: string,
  kind: "imitation" | "actor_critic",
  changes: Partial<CheckpointContent> = {},
): Promise<string> {
  const { model, ...info } = sampleInfo({ kind });
  const { variant, maxTokenLen } = model;
  const own = { variant, maxTokenLen, actionDim: ACTION_DIM, horizon: HORIZON };
  const dir = join(root, "step_5");
  const isTrained = kind === "actor_critic";
  await writeCheckpoint(dir, {
    info: {
      ...info,
      model: isTrained
        ? { ...own, valueHeadHiddenDim: HIDDEN, maxValueSteps: 7, valueInput: "chunk" }
        : own,
    },
    actorBackbone: backbone(),
    ...(isTrained ? { valueHead: head() } : {}),
    assets: await assetFiles(join(root, "assets_made")),
    ...changes,
  });
  return dir;
}

Deno.test("loadPolicy() adds a value head to an imitation checkpoint and says so", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = await writeTiny(folder.path, "imitation");
  const before = countTensors();
  {
    const { notes, ...loaded } = await loadPolicy(dir, critic());
    using policy = loaded.policy;
    assert.deepEqual(notes, [
      `${dir} is an imitation checkpoint without a critic: added a fresh value head ` +
      "(hidden 12, reads the observation)",
    ]);
    assert.deepEqual(await policy.network.backbone.toHost(), backbone());
    assert.deepEqual(policy.network.valueHead.get("dense_0/kernel").shape, [64, 12]);
    assert.equal(policy.shape.maxValueSteps, 5);
    const observations = makeObservations(1, 2, 56);
    const chunks = await policy.sampleActions(observations, {
      temperature: 1,
      random: randomSource(1),
    });
    assert.deepEqual(chunks.map((c) => c.value), [0, 0], "a fresh critic says 0 everywhere");
  }
  assert.equal(countTensors(), before);
});

Deno.test("loadPolicy() restores actor and critic of an actor-critic checkpoint exactly", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = await writeTiny(folder.path, "actor_critic");
  const { notes, ...loaded } = await loadPolicy(dir, critic());
  using policy = loaded.policy;
  assert.deepEqual(notes, []);
  assert.deepEqual(await policy.network.backbone.toHost(), backbone());
  assert.deepEqual(await policy.network.valueHead.toHost(), head());
  const { valueHeadHiddenDim, valueInput, maxValueSteps } = policy.shape;
  assert.deepEqual([valueHeadHiddenDim, valueInput, maxValueSteps], [HIDDEN, "chunk", 7]);
  assert.equal(policy.assets.fast.fingerprint(), makeAssets().fast.fingerprint());
  assert.equal(policy.assets.language.fingerprint(), makeAssets().language.fingerprint());
  assert.deepEqual(policy.assets.stats, makeStats());
  assert.ok((await readAssetFiles(dir)).has(ASSET_PATHS.stats));
});

Deno.test("loadPolicy() says which parameter is missing or misshapen, and keeps nothing", async () => {
  await useDevice("wasm");
  const before = countTensors();
  for (
    const [change, message] of [
      [
        (all: HostTensor[]) => all.filter((t) => t.name !== "PaliGemma/llm/final_norm/scale"),
        /as tiny: 1 tensor does not fit .*\nmissing \(1\):\n.*llm\/final_norm\/scale: expected \[64\];$/,
      ],
      [
        (all: HostTensor[]) =>
          all.map((t) => t.name === "PaliGemma/img/head/bias" ? { ...t, shape: [8, 8] } : t),
        /wrong shape \(1\):\n.*img\/head\/bias: expected \[64\], found \[8, 8\];$/,
      ],
    ] as const
  ) {
    using folder = new TempDir();
    const dir = await writeTiny(folder.path, "imitation", { actorBackbone: change(backbone()) });
    await assert.rejects(loadPolicy(dir, critic()), { name: "CheckpointError", message });
  }
  using folder = new TempDir();
  const noAssets = await writeTiny(folder.path, "imitation", { assets: new Map() });
  await assert.rejects(loadPolicy(noAssets, critic()), /tokenizer.json/);
  await assert.rejects(loadPolicy(join(folder.path, "none"), critic()), {
    name: "CheckpointError",
  });
  const badHead = head().slice(1);
  using other = new TempDir();
  const dir = await writeTiny(other.path, "actor_critic", { valueHead: badHead });
  await assert.rejects(
    loadPolicy(dir, critic()),
    /missing \(1\):\n {2}value_head\/dense_0\/kernel: expected/,
  );
  assert.equal(countTensors(), before);
});

Deno.test("readWeights() and assignWeights() carry all weights from one policy to another", async () => {
  await useDevice("wasm");
  using a = makePolicy({}, 1);
  using b = makePolicy({}, 2);
  const weights = await readWeights(a);
  assert.notDeepEqual(await readWeights(b), weights);
  const before = countTensors();
  assignWeights(b, weights);
  assert.equal(countTensors(), before);
  assert.deepEqual(await readWeights(b), weights);
  const { actorBackbone, valueHead } = splitWeights(weights);
  assert.deepEqual(actorBackbone, await a.network.backbone.toHost());
  assert.deepEqual(valueHead, await a.network.valueHead.toHost());

  const observations = makeObservations(1, 2);
  const options = () => ({ temperature: 1, random: randomSource(1) });
  assert.deepEqual(
    await b.sampleActions(observations, options()),
    await a.sampleActions(observations, options()),
  );
});

Deno.test("assignWeights() refuses weights of another policy and writes none of them", async () => {
  await useDevice("wasm");
  using a = makePolicy({}, 1);
  using b = makePolicy({ valueHeadHiddenDim: 8 }, 2);
  const own = await readWeights(b);
  const foreign = await readWeights(a);
  assert.throws(() => assignWeights(b, foreign), {
    name: "RangeError",
    message: "Cannot assign dense_0/kernel: shape [32,16], the policy wants [32,8]",
  });
  assert.throws(() => assignWeights(b, [...own, { ...own[0], name: "elsewhere/x" }]), {
    name: "RangeError",
    message: "Cannot assign elsewhere/x: names begin with actor_backbone/ or value_head/",
  });
  assert.deepEqual(await readWeights(b), own);
});

Deno.test("policySignature() names what differs between two policies", async () => {
  await useDevice("wasm");
  using base = makePolicy();
  const signature = policySignature(base, 1);
  const differing = (other: Record<string, string>) =>
    Object.keys(signature).filter((key) => signature[key] !== other[key]);

  using again = makePolicy({}, 5);
  assert.deepEqual(policySignature(again, 1), signature, "weights do not count");
  assert.deepEqual(differing(policySignature(base, 0.7)), ["chunk"]);
  using shorter = makePolicy({ maxTokenLen: 60 });
  assert.deepEqual(differing(policySignature(shorter, 1)), ["chunk"]);
  using chunkCritic = makePolicy({ valueInput: "chunk" });
  assert.deepEqual(differing(policySignature(chunkCritic, 1)), ["model"]);
  using shortCritic = makePolicy({ valueInput: "chunk", maxValueSteps: 2 });
  assert.notEqual(policySignature(shortCritic, 1).model, policySignature(chunkCritic, 1).model);
  using openpi = makePolicy({ variant: { ...MICRO, decodePositions: "openpi" } });
  assert.deepEqual(differing(policySignature(openpi, 1)), ["model"]);

  const withAssets = (changes: Partial<ActorCritic["assets"]>) => {
    const { backbone, valueHead } = base.network; // shared: `base` frees them
    const other = new ActorCritic(base.shape, { ...base.assets, ...changes }, backbone, valueHead);
    return policySignature(other, 1);
  };
  const stats = makeStats();
  const q99 = stats.actions.q99.map((x) => x + 0.01);
  const otherStats = { ...stats, actions: { ...stats.actions, q99 } };
  assert.deepEqual(differing(withAssets({ stats: otherStats })), ["normalization"]);
  const fast = fitTokenizer(HORIZON, ACTION_DIM, 11, 128);
  assert.deepEqual(differing(withAssets({ fast })), ["tokenizer"]);
});

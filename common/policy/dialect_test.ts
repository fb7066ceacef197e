import assert from "node:assert/strict";
import { join } from "node:path";
import { toRobotActions } from "./action_transform.ts";
import { sampleInfo, TempDir } from "../checkpoint/testing.ts";
import { inspectCheckpoint, writeCheckpoint } from "../checkpoint/checkpoint.ts";
import type { ModelMetadata } from "../checkpoint/metadata.ts";
import type { DialectName } from "../tokenizer/dialect.ts";
import { saveLanguageFiles } from "../tokenizer/language.ts";
import { saveNormStats } from "../tokenizer/normalization.ts";
import { randomSource } from "../tokenizer/testing.ts";
import { refusalOf } from "../wire/signature.ts";
import { PROTOCOL_VERSION } from "../wire/protocol.ts";
import { useDevice } from "./backend.ts";
import { chooseCheckpoint } from "./choose_checkpoint.ts";
import { ASSET_PATHS, loadPolicy, policySignature } from "./load.ts";
import { backboneSpecs } from "./parameters.ts";
import {
  ACTION_DIM,
  drawEverything,
  HORIZON,
  languageFiles,
  makeAssets,
  makeObservations,
  makePolicy,
  makeStats,
  maxDifference,
  normalSource,
} from "./testing.ts";
import { VARIANTS } from "./variants.ts";

const critic = () => ({
  valueHeadHiddenDim: 8,
  valueInput: "observation" as const,
  maxValueSteps: 5,
  isCriticDetached: true,
  normal: normalSource(9),
});

/** Write a tiny imitation checkpoint whose metadata names a dialect, or none. */
async function writeTiny(root: string, dialect?: DialectName): Promise<string> {
  const made = join(root, "made");
  await makeAssets().fast.save(join(made, ASSET_PATHS.fast));
  await saveLanguageFiles(join(made, ASSET_PATHS.language), languageFiles());
  await Deno.mkdir(join(made, "aloha"), { recursive: true });
  await saveNormStats(join(made, ASSET_PATHS.stats), makeStats());
  const assets = new Map<string, Uint8Array>();
  for (const folder of [ASSET_PATHS.fast, ASSET_PATHS.language, "aloha"]) {
    for await (const { name } of Deno.readDir(join(made, folder))) {
      assets.set(`${folder}/${name}`, await Deno.readFile(join(made, folder, name)));
    }
  }
  const model: ModelMetadata = {
    variant: "tiny",
    actionDim: ACTION_DIM,
    horizon: HORIZON,
    maxTokenLen: 64,
    ...(dialect && { dialect }),
  };
  const dir = join(root, `${dialect}`, "step_5");
  await writeCheckpoint(dir, {
    info: { ...sampleInfo({ kind: "imitation" }), model },
    actorBackbone: [...drawEverything(backboneSpecs(VARIANTS.tiny), 1).values()],
    assets,
  });
  return dir;
}

Deno.test("a checkpoint's dialect decides prompt, statistics and positions of its policy", async () => {
  await useDevice("cpu");
  using folder = new TempDir();
  for (const [dialect, spoken] of [[undefined, "openpi"], ["lerobot", "lerobot"]] as const) {
    const dir = await writeTiny(folder.path, dialect);
    assert.equal((await inspectCheckpoint(dir)).model.dialect, dialect);
    const { policy } = await loadPolicy(dir, critic());
    using _policy = policy;
    assert.equal(policy.dialect.name, spoken);
    const [prompt] = policy.prepareInput(makeObservations(1, 1, 56)).ids.prompts;
    assert.equal(prompt.at(-1) === policy.assets.language.bosId, spoken === "lerobot");
    assert.equal(policy.network.variant.decodePositions, "natural");
    assert.equal(policy.assets.stats.state.mode, dialect && "mean_std");
    assert.equal(policySignature(policy, 1).dialect, spoken);
  }
});

Deno.test("chooseCheckpoint() refuses a checkpoint of another dialect than the one asked for", async () => {
  using folder = new TempDir();
  const config = {
    resume: false,
    checkpoint: await writeTiny(folder.path, "lerobot"),
    checkpointDir: folder.path,
    expName: "run",
    variant: "tiny",
    actionDim: ACTION_DIM,
    horizon: HORIZON,
    maxTokenLen: 64,
  } as const;
  await assert.rejects(
    chooseCheckpoint({ ...config, dialect: "openpi" }),
    /its dialect is lerobot, the configuration says openpi; set the flags to match/,
  );
  const chosen = await chooseCheckpoint({ ...config, dialect: "lerobot" });
  assert.equal(chosen.path, config.checkpoint);
  await chooseCheckpoint({
    ...config,
    checkpoint: await writeTiny(folder.path),
    dialect: "openpi",
  });
});

Deno.test("peers of different dialects refuse each other by name", async () => {
  await useDevice("cpu");
  using openpi = makePolicy();
  using lerobot = makePolicy({ dialect: "lerobot" });
  const hello = {
    protocolVersion: PROTOCOL_VERSION,
    signature: policySignature(lerobot, 1),
  } as Parameters<typeof refusalOf>[0];
  assert.match(
    refusalOf(hello, policySignature(openpi, 1)) ?? "",
    /: dialect is "openpi" on the learner and "lerobot" on the controller; start both/,
  );
  assert.equal(refusalOf(hello, policySignature(lerobot, 1)), null);
});

Deno.test("log-probabilities recomputed in LeRobot's dialect are those of its sampler", async () => {
  await useDevice("wasm");
  const observations = makeObservations(3, 4);
  using policy = makePolicy({ dialect: "lerobot", maxTokenLen: 54 });
  using other = makePolicy({ dialect: "openpi", maxTokenLen: 54 });
  const chunks = await policy.sampleActions(observations, {
    temperature: 1,
    random: randomSource(5),
  });
  const tokens = chunks.map((chunk) => chunk.tokens);
  const recorded = chunks.map((chunk) => chunk.logProb);
  const same = await policy.computeActionChunkLogProb(observations, tokens);
  assert.ok(maxDifference(same, recorded) < 1e-4);
  const wrong = await other.computeActionChunkLogProb(observations, tokens);
  assert.ok(maxDifference(wrong, recorded) > 1e-2, "the dialect matters");
});

Deno.test("LeRobot's shorter end leaves a chunk one token more, its second BOS one less", async () => {
  await useDevice("cpu");
  const [observation] = makeObservations(3, 1);
  const chunk = makeAssets().fast.encode(
    new Float32Array(HORIZON * ACTION_DIM),
    HORIZON,
    ACTION_DIM,
  );
  for (const dialect of ["openpi", "lerobot"] as const) {
    using policy = makePolicy({ dialect });
    const { prompts: [prompt], forced } = policy.prepareInput([observation]).ids;
    const closing = dialect === "openpi" ? 2 : 1;
    const needed = prompt.length + forced.length + policy.grammar.minTokens + closing;
    using roomy = makePolicy({ dialect, maxTokenLen: needed });
    using tight = makePolicy({ dialect, maxTokenLen: needed - 1 });
    assert.doesNotThrow(() => roomy.prepareInput([observation]));
    assert.match(tight.findFault(observation, chunk) ?? "", /raise the token budget/);
    assert.doesNotMatch(roomy.findFault(observation, chunk) ?? "", /raise the token budget/);
  }
});

Deno.test("a policy of LeRobot's dialect tells and moves in deviations from the mean", async () => {
  await useDevice("cpu");
  using policy = makePolicy({ dialect: "lerobot" });
  const [observation] = makeObservations(4, 1);
  // Half-way from the mean 0 to −1.5, of which one deviation is 0.75: one deviation below.
  const state = new Float32Array(14).fill(-0.75);
  const [prompt] = policy.prepareInput([{ ...observation, state }]).ids.prompts;
  const words = policy.assets.language.encode(`State: ${Array(ACTION_DIM).fill(0).join(" ")};`);
  assert.ok([...prompt].join().includes([...words].join()));
  const lower = policy.prepareInput([{ ...observation, state: state.map((x) => 2 * x) }]);
  const below = policy.assets.language.encode(`State: ${Array(ACTION_DIM).fill(-1).join(" ")};`);
  assert.ok([...lower.ids.prompts[0]].join().includes([...below].join()), "not clipped");

  const { stats } = policy.assets;
  const targets = toRobotActions(new Float32Array(ACTION_DIM).fill(1), state, ACTION_DIM, stats);
  assert.ok(Math.abs(targets[0] - (-0.75 + 0.15)) < 1e-6, "one deviation of the actions is 0.15");
});

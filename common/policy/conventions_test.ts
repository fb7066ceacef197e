import assert from "node:assert/strict";
import { join } from "node:path";
import { readCheckpoint, writeCheckpoint } from "../checkpoint/checkpoint.ts";
import type { ModelMetadata } from "../checkpoint/metadata.ts";
import { sampleInfo, TempDir } from "../checkpoint/testing.ts";
import { stateToPi } from "../robot/aloha_pi.ts";
import { useDevice } from "./backend.ts";
import { chooseCheckpoint, SHIPPED_CHECKPOINTS } from "./choose_checkpoint.ts";
import { type CriticOptions, loadPolicy, policySignature } from "./load.ts";
import { makeObservations, makePolicy, MICRO, normalSource } from "./testing.ts";
import { withDecodePositions } from "./variants.ts";

const SHIPPED = SHIPPED_CHECKPOINTS[1];

const options = (changes: Partial<CriticOptions> = {}): CriticOptions => ({
  valueHeadHiddenDim: 8,
  valueInput: "observation",
  maxValueSteps: 5,
  isCriticDetached: true,
  normal: normalSource(9),
  ...changes,
});

/** The shipped checkpoint again, with other conventions in its metadata. */
async function writeWith(root: string, changes: Partial<ModelMetadata>): Promise<string> {
  const { metadata, actorBackbone, assets } = await readCheckpoint(SHIPPED);
  const dir = join(root, "made", "step_5");
  const model = { ...metadata.model, ...changes };
  const info = { ...sampleInfo({ kind: "imitation" }), model };
  await writeCheckpoint(dir, { info, actorBackbone, assets });
  return dir;
}

/** What a policy came to be: positions, convention, and what peers must agree on. */
async function conventionsOf(dir: string, changes: Partial<CriticOptions> = {}) {
  const { policy } = await loadPolicy(dir, options(changes));
  using _policy = policy;
  const { variant, adaptToPi } = policy.shape;
  const { model, convention } = policySignature(policy, 1);
  return { positions: variant.decodePositions, adaptToPi, model, convention };
}

Deno.test("withDecodePositions() takes the first choice that is one", () => {
  assert.equal(withDecodePositions(MICRO, "variant", undefined, null), MICRO);
  assert.equal(withDecodePositions(MICRO, "variant", "openpi").decodePositions, "openpi");
  assert.equal(withDecodePositions(MICRO, "natural", "openpi").decodePositions, "natural");
});

Deno.test("loadPolicy() leaves a checkpoint that says nothing to its variant and to the flags", async () => {
  await useDevice("wasm");
  const plain = await conventionsOf(SHIPPED);
  assert.equal(plain.positions, "natural");
  assert.equal(plain.adaptToPi, false);
  assert.equal(plain.convention, "aloha");
  assert.deepEqual(await conventionsOf(SHIPPED, { decodePositions: "variant" }), plain);
  const asked = await conventionsOf(SHIPPED, { decodePositions: "openpi", adaptToPi: true });
  assert.equal(asked.positions, "openpi");
  assert.equal(asked.adaptToPi, true);
  assert.equal(asked.convention, "pi");
  assert.notEqual(asked.model, plain.model, "peers with other positions do not match");
});

Deno.test("loadPolicy() follows what a checkpoint says; a flag overrules its positions", async () => {
  await useDevice("wasm");
  using folder = new TempDir();
  const dir = await writeWith(folder.path, { decodePositions: "openpi", adaptToPi: true });
  const found = await conventionsOf(dir, { decodePositions: "variant", adaptToPi: false });
  assert.equal(found.positions, "openpi");
  assert.equal(found.adaptToPi, true);
  const natural = await conventionsOf(dir, { decodePositions: "natural" });
  assert.equal(natural.positions, "natural");
});

Deno.test("chooseCheckpoint() refuses a checkpoint of the other convention", async () => {
  using folder = new TempDir();
  const checkpoint = await writeWith(folder.path, { adaptToPi: true });
  const { metadata } = await readCheckpoint(checkpoint);
  const config = {
    ...metadata.model,
    actionDim: 7 as const,
    resume: false,
    checkpoint,
    checkpointDir: folder.path,
    expName: "x",
  };
  assert.equal((await chooseCheckpoint({ ...config, adaptToPi: true })).path, checkpoint);
  await assert.rejects(
    chooseCheckpoint({ ...config, adaptToPi: false }),
    /its adaptToPi is true, the configuration says false; set the flags to match/,
  );
});

Deno.test("a policy in pi's convention is shown the state that stateToPi() gives", async () => {
  await useDevice("cpu");
  using plain = makePolicy();
  using adapted = makePolicy({ adaptToPi: true });
  const observations = makeObservations(4, 2);
  const turned = observations.map((o) => ({ ...o, state: stateToPi(o.state) }));
  const prompts = (policy: typeof plain, seen: typeof observations) =>
    policy.prepareInput(seen).ids.prompts.map((p) => [...p]);
  assert.deepEqual(prompts(adapted, observations), prompts(plain, turned));
  assert.notDeepEqual(prompts(adapted, observations), prompts(plain, observations));
});

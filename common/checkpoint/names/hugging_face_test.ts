import * as tf from "@tensorflow/tfjs";
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { useDevice } from "../../policy/backend.ts";
import { imageTokens, type Network, postfixLogits } from "../../policy/network.ts";
import { backboneSpecs, ParameterStore } from "../../policy/parameters.ts";
import { countTensors, maxDifference, MICRO_LORA, take } from "../../policy/testing.ts";
import type { GemmaSize, PolicyVariant, SiglipSize } from "../../policy/variants.ts";
import type { HostTensor } from "../../types.ts";
import { checkTensors } from "../check_tensors.ts";
import { openTensorSource } from "../open_source.ts";
import { planBackbone, recognise } from "../recognise.ts";
import type { TensorSource } from "../tensor_source.ts";
import { readMapped } from "./mapped_tensor.ts";
import { InMemorySource } from "./testing.ts";
import { checkTied } from "./tied.ts";

const FIXTURE = fileURLToPath(new URL("../../../tests/fixtures/hugging_face", import.meta.url));

// Written by scripts/goldens/hugging_face_golden.py: what transformers' PaliGemma computes.
interface Golden {
  readonly siglip: SiglipSize;
  readonly gemma: GemmaSize;
  readonly prompt: readonly number[];
  readonly postfix: readonly number[];
  readonly features: readonly number[];
  readonly logits: readonly number[];
}

const golden: Golden = JSON.parse(await Deno.readTextFile(`${FIXTURE}/golden.json`));
const VARIANT: PolicyVariant = { ...MICRO_LORA, siglip: golden.siglip, gemma: golden.gemma };
const WANTED = backboneSpecs(VARIANT).map(({ path, shape }) => ({ name: path, shape }));
const LEROBOT = "model.paligemma_with_expert.paligemma.";

async function mappedTensors(source: TensorSource): Promise<Map<string, HostTensor>> {
  const plan = planBackbone(source, VARIANT, WANTED);
  checkTensors(plan.wanted, plan.found, source.path, source.skipped);
  await checkTied(source, plan);
  const tensors = new Map<string, HostTensor>();
  for (const mapped of plan.mapped) tensors.set(mapped.name, await readMapped(source, mapped));
  return tensors;
}

async function storedTensors(): Promise<HostTensor[]> {
  using source = await openTensorSource(FIXTURE);
  return await Promise.all(source.tensors.map(({ name }) => source.read(name)));
}

Deno.test("Hugging Face weights give transformers' own numbers in Tendon's network", async () => {
  await useDevice("wasm");
  const before = countTensors();
  using source = await openTensorSource(FIXTURE);
  {
    const backbone = new ParameterStore(backboneSpecs(VARIANT), await mappedTensors(source));
    using _backbone = { [Symbol.dispose]: () => backbone.dispose() };
    const net: Network = {
      variant: VARIANT,
      backbone,
      valueHead: new ParameterStore([], new Map()),
      fastVocab: 16,
      valueInput: "observation",
      maxValueSteps: 1,
      isCriticDetached: true,
    };
    const { imageSize: side } = golden.siglip;
    const images = [0, 1, 2].map((camera) => ({
      width: side,
      height: side,
      data: Uint8Array.from({ length: side * side * 3 }, (_, i) => i * 37 + 101 * camera),
    }));
    const prompts = [Int32Array.from(golden.prompt)];
    const input = { images, ids: { prompts, forced: new Int32Array(0) } };
    const features = await take(tf.tidy(() => imageTokens(net, input)));
    assert.ok(maxDifference(features, golden.features) < 1e-4);
    const postfix = [Int32Array.from(golden.postfix)];
    const logits = await take(tf.tidy(() => postfixLogits(net, input, postfix)));
    const difference = maxDifference(logits, golden.logits);
    assert.ok(difference < 1e-4, `greatest difference of a logit is ${difference}`);
  }
  assert.equal(countTensors(), before);
});

Deno.test("recognise() knows LeRobot's names and those of three generations of transformers", async () => {
  using source = await openTensorSource(FIXTURE);
  const { origin, kind, names, variant } = recognise(source);
  assert.deepEqual([origin, kind, names, variant], [
    ...["lerobot", "imitation", "hugging_face", "unknown"],
  ]);
  const plan = planBackbone(source, VARIANT, WANTED);
  assert.match(plan.notes[0], /^the last 6 rows of \S+embed_tokens.weight are padding/);

  const expected = await mappedTensors(source);
  const stored = await storedTensors();
  const rename = (spell: (name: string) => string) =>
    stored.map((tensor) => ({ ...tensor, name: spell(tensor.name.slice(LEROBOT.length)) }));
  const older = (name: string) =>
    name.replace("model.language_model.", "language_model.model.")
      .replace("model.vision_tower.", "vision_tower.vision_model.")
      .replace("model.multi_modal_projector", "multi_modal_projector")
      .replace(/^lm_head/, "language_model.lm_head");
  const spellings: [HostTensor[], string][] = [
    [rename((name) => name), "paligemma"],
    [rename(older), "paligemma"],
    [rename((name) => `paligemma_with_expert.paligemma.${older(name)}`), "lerobot"],
    // Tied weights are stored once: under either name.
    [stored.filter(({ name }) => !name.endsWith("lm_head.weight")), "lerobot"],
    [stored.filter(({ name }) => !name.endsWith("embed_tokens.weight")), "lerobot"],
  ];
  for (const [tensors, origin] of spellings) {
    const renamed = new InMemorySource(tensors, { dtype: "BF16", blockSide: 9 });
    assert.equal(recognise(renamed).origin, origin);
    assert.deepEqual(await mappedTensors(renamed), expected);
  }
});

Deno.test("planBackbone() reports what is wrong with Hugging Face weights under their own names", async () => {
  const stored = await storedTensors();
  const broken = stored.filter(({ name }) => !name.endsWith("mlp.up_proj.weight"))
    .map((tensor) => tensor.name.endsWith("k_proj.bias") ? { ...tensor, shape: [3, 8] } : tensor);
  const source = new InMemorySource([...broken, { ...stored[0], name: "model.gemma_expert.x" }]);
  const plan = planBackbone(source, VARIANT, WANTED);
  const text = `${LEROBOT}model.language_model.layers.{0-1}.mlp.up_proj.weight`;
  assert.throws(() => checkTensors(plan.wanted, plan.found, "x"), (error: Error) => {
    assert.ok(error.message.includes(`missing (2):\n  ${text}: expected [48, 32];`), error.message);
    assert.ok(error.message.includes("unexpected (1):\n  model.gemma_expert.x"));
    assert.ok(
      error.message.includes("layers.{0-1}.self_attn.k_proj.bias: expected [24], found [3, 8]"),
    );
    return true;
  });
});

Deno.test("checkTied() refuses an output head that is not the embedding", async () => {
  const stored = await storedTensors();
  const source = new InMemorySource(
    stored.map((tensor) =>
      tensor.name.endsWith("lm_head.weight")
        ? { ...tensor, data: tensor.data.map((x) => x + 1) }
        : tensor
    ),
  );
  await assert.rejects(mappedTensors(source), {
    name: "CheckpointError",
    message: /lm_head.weight differs from .*embed_tokens.weight .*one matrix for both\.$/,
  });
});

Deno.test("planBackbone() has the adapters of Hugging Face weights drawn", async () => {
  using source = await openTensorSource(FIXTURE);
  const lora = { ...VARIANT, gemma: { ...VARIANT.gemma, lora: { rank: 2, alpha: 2 } } };
  const wanted = backboneSpecs(lora).map(({ path, shape }) => ({ name: path, shape }));
  const plan = planBackbone(source, lora, wanted);
  checkTensors(plan.wanted, plan.found, "x");
  assert.equal(plan.missingAdapters.length, 10);
});

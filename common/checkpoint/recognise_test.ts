import assert from "node:assert/strict";
import { backboneSpecs, valueHeadSpecs } from "../policy/parameters.ts";
import { type PolicyVariant, VARIANTS } from "../policy/variants.ts";
import { checkTensors } from "./check_tensors.ts";
import type { TensorShape } from "./check_tensors.ts";
import { planBackbone, recognise } from "./recognise.ts";
import type { StoredTensor } from "./tensor_source.ts";

const specsOf = (variant: PolicyVariant): TensorShape[] =>
  backboneSpecs(variant).map(({ path, shape }) => ({ name: path, shape }));
const HEAD = valueHeadSpecs(64, 16).map(({ path, shape }) => ({ name: path, shape }));

function opened(tensors: readonly TensorShape[], spell: (name: string) => string) {
  const stored = tensors.map(({ name, shape }): StoredTensor => ({
    name: spell(name),
    shape,
    dtype: "F32",
    file: "f",
  }));
  return { format: "safetensors" as const, path: "ckpt", tensors: stored };
}

const TINY = specsOf(VARIANTS.tiny);

Deno.test("recognise() tells openpi's spellings apart from nothing else", () => {
  const spellings: ((name: string) => string)[] = [
    (name) => name,
    (name) => `params/${name}/value`,
    (name) => `params/${name}`,
    (name) => `params.${name.replaceAll("/", ".")}.value`,
  ];
  for (const spell of spellings) {
    const source = opened(TINY, spell);
    const { kind, origin, variant, names, notes } = recognise(source);
    assert.deepEqual([kind, origin, variant, names], ["imitation", "openpi", "tiny", "stacked"]);
    assert.deepEqual(notes, []);
    const plan = planBackbone(source, VARIANTS.tiny, TINY);
    checkTensors(plan.wanted, plan.found, "ckpt");
    assert.deepEqual(plan.mapped.map(({ name, shape }) => ({ name, shape })), TINY);
    assert.equal(plan.mapped[0].pieces[0].source, spell(TINY[0].name));
  }
});

Deno.test("recognise() tells Tendon's imitation from its actor-critic", () => {
  const actor = TINY.map((t) => ({ ...t, name: `actor_backbone/${t.name}` }));
  const critic = HEAD.map((t) => ({ ...t, name: `value_head/${t.name}` }));
  assert.equal(recognise(opened(actor, (n) => n)).kind, "imitation");
  const both = opened([...actor, ...critic], (n) => n);
  const { kind, origin, variant } = recognise(both);
  assert.deepEqual([kind, origin, variant], ["actor_critic", "tendon", "tiny"]);
  const plan = planBackbone(both, VARIANTS.tiny, TINY);
  checkTensors(plan.wanted, plan.found, "ckpt");
});

Deno.test("recognise() takes PaliGemma's npz for base weights and says that it is no policy", () => {
  const source = opened(TINY, (name) => name.replace("PaliGemma/", "params/"));
  const { kind, origin, variant, notes } = recognise(source);
  assert.deepEqual([kind, origin, variant], ["imitation", "paligemma", "tiny"]);
  assert.match(notes[0], /they are no policy$/);
  const plan = planBackbone(source, VARIANTS.tiny, TINY);
  checkTensors(plan.wanted, plan.found, "ckpt");
});

Deno.test("recognise() knows the full sizes with and without adapters", () => {
  for (const name of ["gemma_2b", "gemma_2b_lora"] as const) {
    const source = opened(specsOf(VARIANTS[name]), (n) => `params/${n}/value`);
    assert.equal(recognise(source).variant, name);
  }
  const odd = TINY.map((t) => t.name.endsWith("mlp/linear") ? { ...t, shape: [3, 5, 64] } : t);
  assert.equal(recognise(opened(odd, (n) => n)).variant, "unknown");
});

Deno.test("planBackbone() has missing adapters drawn and says so", () => {
  const wanted = specsOf(VARIANTS.gemma_2b_lora);
  const source = opened(specsOf(VARIANTS.gemma_2b), (n) => `params/${n}/value`);
  const plan = planBackbone(source, VARIANTS.gemma_2b_lora, wanted);
  checkTensors(plan.wanted, plan.found, "ckpt");
  assert.equal(plan.missingAdapters.length, 10);
  assert.match(plan.notes[0], /no weights for 10 LoRA arrays: they are drawn/);
  assert.equal(plan.mapped.length + 10, wanted.length);
});

Deno.test("planBackbone() lets a checkpoint with adapters not pass for one without", () => {
  const source = opened(specsOf(VARIANTS.gemma_2b_lora), (n) => `params/${n}/value`);
  const plan = planBackbone(source, VARIANTS.gemma_2b, specsOf(VARIANTS.gemma_2b));
  assert.throws(
    () => checkTensors(plan.wanted, plan.found, "ckpt as gemma_2b"),
    /unexpected \(10\):\n {2}params\/PaliGemma\/llm\/layers\/attn\/\S+lora_a\/value: found/,
  );
});

Deno.test("recognise() refuses a tree of another model with its first names", () => {
  const source = opened(
    ["encoder/w", "encoder/b", "decoder/w", "decoder/b"].map((name) => ({
      name,
      shape: [2],
    })),
    (n) => n,
  );
  for (const fail of [() => recognise(source), () => planBackbone(source, VARIANTS.tiny, TINY)]) {
    assert.throws(fail, {
      name: "CheckpointError",
      message:
        /^Cannot tell what ckpt is: it has 4 tensors \(encoder\/w, encoder\/b, decoder\/w, …\)/,
    });
  }
  assert.throws(() => recognise(opened([], (n) => n)), /it has 0 tensors, but none/);
});

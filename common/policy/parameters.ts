/**
 * The policy's parameters: their paths and shapes as openpi names them, their layout in memory, and
 * the way between the two.
 *
 * A checkpoint stacks all layers of one kind on axis 0 (and gate/up, key/value on axis 1). Computing
 * wants one matrix a layer, already in the `[in, out]` order that a matmul takes. A
 * {@link ParameterSpec} says how one stacked array falls apart into such matrices.
 *
 * @module
 */

import type { ValueInput } from "../config/config.ts";
import type { HostTensor } from "../types.ts";
import { count, type Initializer, type ParameterSpec } from "./parameter_layout.ts";
import type { GemmaSize, PolicyVariant, SiglipSize } from "./variants.ts";
import { tokensPerImage } from "./variants.ts";

export {
  type Initializer,
  type ParameterSpec,
  permute,
  toCheckpointLayout,
} from "./parameter_layout.ts";
export { ParameterStore, type StoragePlan, type Weight } from "./parameter_store.ts";

/** Path of the query `[D, 1]` of a value head that pools by attention. */
export const POOL_QUERY = "pool/query";

const ZEROS: Initializer = { kind: "zeros" };
const ONES: Initializer = { kind: "ones" };
const fanIn = (n: number): Initializer => ({ kind: "normal", stddev: 1 / Math.sqrt(n) });
/** openpi draws both LoRA factors from normal(0.01) (`gemma_fast.py`). */
const LORA_INIT: Initializer = { kind: "normal", stddev: 0.01 };

function dense(path: string, rows: number, columns: number, init: Initializer): ParameterSpec {
  const shape = [rows, columns];
  return { path, shape, stackedAxes: 0, computeShape: shape, initializer: init };
}

function vector(path: string, size: number, initializer = ZEROS): ParameterSpec {
  return { path, shape: [size], stackedAxes: 0, computeShape: [size], initializer };
}

function siglipSpecs(size: SiglipSize, outWidth: number): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, patch } = size;
  const K = D / N;
  const block = "PaliGemma/img/Transformer/encoderblock";
  const attention = `${block}/MultiHeadDotProductAttention_0`;
  const stacked = (
    path: string,
    inner: readonly number[],
    computeShape: readonly number[],
    initializer: Initializer,
  ): ParameterSpec => ({ path, shape: [L, ...inner], stackedAxes: 1, computeShape, initializer });
  const projection = (name: string) => [
    stacked(`${attention}/${name}/kernel`, [D, N, K], [D, N * K], fanIn(D)),
    stacked(`${attention}/${name}/bias`, [N, K], [N * K], ZEROS),
  ];
  const layerNorm = (name: string) => [
    stacked(`${block}/${name}/scale`, [D], [D], ONES),
    stacked(`${block}/${name}/bias`, [D], [D], ZEROS),
  ];
  return [
    {
      path: "PaliGemma/img/embedding/kernel",
      shape: [patch, patch, 3, D],
      stackedAxes: 0,
      computeShape: [patch * patch * 3, D],
      initializer: fanIn(patch * patch * 3),
    },
    vector("PaliGemma/img/embedding/bias", D),
    {
      path: "PaliGemma/img/pos_embedding",
      shape: [1, tokensPerImage(size), D],
      stackedAxes: 0,
      computeShape: [1, tokensPerImage(size), D],
      initializer: fanIn(D),
    },
    ...layerNorm("LayerNorm_0"),
    ...projection("query"),
    ...projection("key"),
    ...projection("value"),
    stacked(`${attention}/out/kernel`, [N, K, D], [N * K, D], fanIn(D)),
    stacked(`${attention}/out/bias`, [D], [D], ZEROS),
    ...layerNorm("LayerNorm_1"),
    stacked(`${block}/MlpBlock_0/Dense_0/kernel`, [D, F], [D, F], fanIn(D)),
    stacked(`${block}/MlpBlock_0/Dense_0/bias`, [F], [F], ZEROS),
    stacked(`${block}/MlpBlock_0/Dense_1/kernel`, [F, D], [F, D], fanIn(F)),
    stacked(`${block}/MlpBlock_0/Dense_1/bias`, [D], [D], ZEROS),
    vector("PaliGemma/img/Transformer/encoder_norm/scale", D, ONES),
    vector("PaliGemma/img/Transformer/encoder_norm/bias", D),
    dense("PaliGemma/img/head/kernel", D, outWidth, fanIn(D)),
    vector("PaliGemma/img/head/bias", outWidth),
  ];
}

function gemmaSpecs(size: GemmaSize): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, vocab: V } = size;
  const layers = "PaliGemma/llm/layers";
  const norm = (name: string): ParameterSpec => ({
    path: `${layers}/${name}/scale`,
    shape: [L, D],
    stackedAxes: 1,
    computeShape: [D],
    initializer: ZEROS,
  });
  const specs: ParameterSpec[] = [
    {
      path: "PaliGemma/llm/embedder/input_embedding",
      shape: [V, D],
      stackedAxes: 0,
      computeShape: [V, D],
      initializer: fanIn(D),
    },
    norm("pre_attention_norm"),
    {
      path: `${layers}/attn/q_einsum/w`,
      shape: [L, N, D, K],
      stackedAxes: 1,
      permutation: [1, 0, 2],
      computeShape: [D, N * K],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/attn/kv_einsum/w`,
      shape: [L, 2, 1, D, K],
      stackedAxes: 2,
      computeShape: [D, K],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/attn/attn_vec_einsum/w`,
      shape: [L, N, K, D],
      stackedAxes: 1,
      computeShape: [N * K, D],
      initializer: fanIn(N * K),
    },
    norm("pre_ffw_norm"),
    {
      path: `${layers}/mlp/gating_einsum`,
      shape: [L, 2, D, F],
      stackedAxes: 2,
      computeShape: [D, F],
      initializer: fanIn(D),
    },
    {
      path: `${layers}/mlp/linear`,
      shape: [L, F, D],
      stackedAxes: 1,
      computeShape: [F, D],
      initializer: fanIn(F),
    },
    vector("PaliGemma/llm/final_norm/scale", D),
  ];
  return size.lora ? [...specs, ...loraSpecs(size, size.lora.rank)] : specs;
}

/** Adapters, with the shapes that openpi's einsum strings give them (`lora.py`). */
function loraSpecs(size: GemmaSize, R: number): ParameterSpec[] {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K } = size;
  const attention = "PaliGemma/llm/layers/attn";
  const mlp = "PaliGemma/llm/layers/mlp";
  const adapter = (
    path: string,
    stack: readonly number[],
    inner: readonly number[],
    computeShape: readonly number[],
  ): ParameterSpec => ({
    path,
    shape: [...stack, ...inner],
    stackedAxes: stack.length,
    computeShape,
    initializer: LORA_INIT,
  });
  return [
    adapter(`${attention}/q_einsum/lora_a`, [L], [N, D, R], [N, D, R]),
    adapter(`${attention}/q_einsum/lora_b`, [L], [N, R, K], [N, R, K]),
    adapter(`${attention}/kv_einsum/lora_a`, [L, 2], [1, D, R], [D, R]),
    adapter(`${attention}/kv_einsum/lora_b`, [L, 2], [1, R, K], [R, K]),
    adapter(`${attention}/attn_vec_einsum/lora_a`, [L], [N, K, R], [N * K, R]),
    adapter(`${attention}/attn_vec_einsum/lora_b`, [L], [N, R, D], [N, R, D]),
    adapter(`${mlp}/gating_einsum_lora_a`, [L, 2], [D, R], [D, R]),
    adapter(`${mlp}/gating_einsum_lora_b`, [L, 2], [R, F], [R, F]),
    adapter(`${mlp}/linear_lora_a`, [L], [F, R], [F, R]),
    adapter(`${mlp}/linear_lora_b`, [L], [R, D], [R, D]),
  ];
}

/**
 * Every array of a policy's backbone, in a fixed order.
 * @param variant Sizes.
 */
export function backboneSpecs(variant: PolicyVariant): ParameterSpec[] {
  return [...siglipSpecs(variant.siglip, variant.gemma.width), ...gemmaSpecs(variant.gemma)];
}

/**
 * Every array of the value head: an MLP `D → hidden → hidden → 1` and, where it pools by attention,
 * the query that it does so with.
 * @param width D, the model width that it reads.
 * @param hidden Width of the hidden layers.
 * @param input What it reads.
 */
export function valueHeadSpecs(
  width: number,
  hidden: number,
  input: ValueInput = "observation",
): ParameterSpec[] {
  return [
    // The states that it is multiplied by have a root mean square near 1: scores vary by about 1.
    ...(input === "attention" ? [dense(POOL_QUERY, width, 1, fanIn(width))] : []),
    dense("dense_0/kernel", width, hidden, fanIn(width)),
    vector("dense_0/bias", hidden),
    dense("dense_1/kernel", hidden, hidden, fanIn(hidden)),
    vector("dense_1/bias", hidden),
    // Zero, so that a fresh critic starts at 0 everywhere and disturbs nothing.
    dense("out/kernel", hidden, 1, ZEROS),
    vector("out/bias", 1),
  ];
}

/** Number of scalars in a list of arrays. */
export function parameterCount(specs: readonly ParameterSpec[]): number {
  return specs.reduce((sum, spec) => sum + count(spec.shape), 0);
}

/**
 * Draw fresh values for a list of arrays.
 * @param normal Gives independent standard normal numbers.
 */
export function drawParameters(
  specs: readonly ParameterSpec[],
  normal: () => number,
): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const { path, shape, initializer } of specs) {
    const data = new Float32Array(count(shape));
    if (initializer.kind === "ones") data.fill(1);
    if (initializer.kind === "normal") {
      for (let i = 0; i < data.length; i++) data[i] = normal() * initializer.stddev;
    }
    out.set(path, { name: path, shape, data });
  }
  return out;
}

/**
 * Hugging Face's names of PaliGemma, which LeRobot's π0-FAST has below
 * `model.paligemma_with_expert.paligemma.`: one tensor a layer, matrices as `[out, in]`, the queries
 * of all heads in one matrix, gate and up apart. Norm scales are stored as openpi stores them, as what
 * is added to 1.
 *
 * Letters: D width, F MLP width, N heads, K head width, L layers, V vocabulary, P patch.
 *
 * @module
 */

import type { GemmaSize, PolicyVariant, SiglipSize } from "../../policy/variants.ts";
import { tokensPerImage } from "../../policy/variants.ts";
import type { TensorShape } from "../check_tensors.ts";
import type { StoredTensor } from "../tensor_source.ts";
import type { MappedTensor, Piece } from "./mapped_tensor.ts";
import { adapterNotes, isAdapter, type LoadPlan } from "./plan.ts";

/** What stands in front of the names of each part of the model. */
export interface HuggingFaceNames {
  /** LeRobot's policy, or the bare PaliGemma. */
  readonly origin: "lerobot" | "paligemma";
  /** Of the language model, such as `model.language_model.`. */
  readonly text: string;
  /** Of the image encoder, such as `model.vision_tower.vision_model.`. */
  readonly vision: string;
  /** Of the projection between them. */
  readonly projector: string;
  /** Name of the token embedding: `embed_tokens.weight`, or the head that equals it. */
  readonly embedding: string;
  /** Name of the output head, which equals the embedding; undefined when it is not stored. */
  readonly head: string | undefined;
}

/** Tensors of Hugging Face files that hold no weight of this model. */
const NOT_NEEDED =
  /(^|\.)(rotary_emb\.inv_freq|embeddings\.position_ids|vision_(model|tower)\.head\..+)$/;

/**
 * Find out where the parts of the model lie.
 *
 * @param names All names of the file.
 * @returns Where; undefined when these are not such names.
 */
export function huggingFaceNames(names: readonly string[]): HuggingFaceNames | undefined {
  const prefixOf = (ending: string, without: string) => {
    const name = names.find((one) => one.endsWith(ending) && !one.includes(without));
    return name?.slice(0, -ending.length);
  };
  const expert = "gemma_expert";
  const text = prefixOf("layers.0.input_layernorm.weight", expert);
  const vision = prefixOf("embeddings.patch_embedding.weight", expert);
  if (text === undefined || vision === undefined) return undefined;
  const head = names.find((name) => name.endsWith("lm_head.weight") && !name.includes(expert));
  const embedding = `${text}embed_tokens.weight`;
  const isEmbeddingThere = names.includes(embedding) || head === undefined;
  return {
    origin: names.some((name) => name.includes("paligemma_with_expert")) ? "lerobot" : "paligemma",
    text,
    vision,
    projector: prefixOf("multi_modal_projector.linear.weight", expert) ?? "",
    embedding: isEmbeddingThere ? embedding : head,
    head: isEmbeddingThere ? head : undefined,
  };
}

/** Pieces that stack one tensor a layer. */
function stack(depth: number, piece: (layer: number) => Piece): Piece[] {
  return Array.from({ length: depth }, (_, layer) => piece(layer));
}

function visionTensors(size: SiglipSize, names: HuggingFaceNames, outWidth: number) {
  const { width: D, depth: L, mlpDim: F, heads: N, patch: P } = size;
  const K = D / N;
  const T = tokensPerImage(size);
  const own = (name: string) => `${names.vision}${name}`;
  const projector = (name: string) => `${names.projector}multi_modal_projector.linear.${name}`;
  const block = "PaliGemma/img/Transformer/encoderblock";
  const attention = `${block}/MultiHeadDotProductAttention_0`;
  const layer = (
    name: string,
    part: string,
    shape: readonly number[],
    piece: Omit<Piece, "source" | "index">,
  ): MappedTensor => ({
    name,
    shape: [L, ...shape],
    pieces: stack(L, (i) => ({ source: own(`encoder.layers.${i}.${part}`), index: [i], ...piece })),
  });
  const vector = (name: string, part: string, size: number) =>
    layer(name, part, [size], { sourceShape: [size] });
  const matrix = (name: string, part: string, rows: number, columns: number) =>
    layer(name, part, [rows, columns], { sourceShape: [columns, rows], permutation: [1, 0] });
  const single = (
    name: string,
    source: string,
    shape: readonly number[],
    piece: Partial<Piece> & Pick<Piece, "sourceShape">,
  ): MappedTensor => ({ name, shape, pieces: [{ source, index: [], ...piece }] });
  const projection = (name: string, part: string) => [
    layer(`${attention}/${name}/kernel`, `self_attn.${part}.weight`, [D, N, K], {
      sourceShape: [D, D],
      split: [[N, K], [D]],
      permutation: [2, 0, 1],
    }),
    layer(`${attention}/${name}/bias`, `self_attn.${part}.bias`, [N, K], {
      sourceShape: [D],
      split: [[N, K]],
    }),
  ];
  const img = "PaliGemma/img";
  return [
    single(`${img}/embedding/kernel`, own("embeddings.patch_embedding.weight"), [P, P, 3, D], {
      sourceShape: [D, 3, P, P],
      permutation: [2, 3, 1, 0],
    }),
    single(`${img}/embedding/bias`, own("embeddings.patch_embedding.bias"), [D], {
      sourceShape: [D],
    }),
    single(`${img}/pos_embedding`, own("embeddings.position_embedding.weight"), [1, T, D], {
      sourceShape: [T, D],
      split: [[1, T], [D]],
    }),
    vector(`${block}/LayerNorm_0/scale`, "layer_norm1.weight", D),
    vector(`${block}/LayerNorm_0/bias`, "layer_norm1.bias", D),
    ...projection("query", "q_proj"),
    ...projection("key", "k_proj"),
    ...projection("value", "v_proj"),
    layer(`${attention}/out/kernel`, "self_attn.out_proj.weight", [N, K, D], {
      sourceShape: [D, D],
      split: [[D], [N, K]],
      permutation: [1, 2, 0],
    }),
    vector(`${attention}/out/bias`, "self_attn.out_proj.bias", D),
    vector(`${block}/LayerNorm_1/scale`, "layer_norm2.weight", D),
    vector(`${block}/LayerNorm_1/bias`, "layer_norm2.bias", D),
    matrix(`${block}/MlpBlock_0/Dense_0/kernel`, "mlp.fc1.weight", D, F),
    vector(`${block}/MlpBlock_0/Dense_0/bias`, "mlp.fc1.bias", F),
    matrix(`${block}/MlpBlock_0/Dense_1/kernel`, "mlp.fc2.weight", F, D),
    vector(`${block}/MlpBlock_0/Dense_1/bias`, "mlp.fc2.bias", D),
    single(`${img}/Transformer/encoder_norm/scale`, own("post_layernorm.weight"), [D], {
      sourceShape: [D],
    }),
    single(`${img}/Transformer/encoder_norm/bias`, own("post_layernorm.bias"), [D], {
      sourceShape: [D],
    }),
    single(`${img}/head/kernel`, projector("weight"), [D, outWidth], {
      sourceShape: [outWidth, D],
      permutation: [1, 0],
    }),
    single(`${img}/head/bias`, projector("bias"), [outWidth], { sourceShape: [outWidth] }),
  ];
}

function textTensors(size: GemmaSize, names: HuggingFaceNames, storedRows: number) {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, vocab: V } = size;
  const own = (layer: number, name: string) => `${names.text}layers.${layer}.${name}.weight`;
  const layers = "PaliGemma/llm/layers";
  const norm = (name: string, part: string): MappedTensor => ({
    name: `${layers}/${name}/scale`,
    shape: [L, D],
    pieces: stack(L, (i) => ({ source: own(i, part), sourceShape: [D], index: [i] })),
  });
  const pair = (i: number, parts: readonly string[], index: readonly number[], rows: number) =>
    parts.map((part, k): Piece => ({
      source: own(i, part),
      sourceShape: [rows, D],
      index: [i, k, ...index],
      permutation: [1, 0],
    }));
  const each = (pieces: (layer: number) => Piece[]) =>
    Array.from({ length: L }, (_, layer) => pieces(layer)).flat();
  return [
    {
      name: "PaliGemma/llm/embedder/input_embedding",
      shape: [V, D],
      pieces: [{
        source: names.embedding,
        sourceShape: [storedRows, D],
        index: [],
        ...(storedRows === V ? {} : { rows: V }),
      }],
    },
    norm("pre_attention_norm", "input_layernorm"),
    {
      name: `${layers}/attn/q_einsum/w`,
      shape: [L, N, D, K],
      pieces: stack(L, (i) => ({
        source: own(i, "self_attn.q_proj"),
        sourceShape: [N * K, D],
        index: [i],
        split: [[N, K], [D]],
        permutation: [0, 2, 1],
      })),
    },
    {
      name: `${layers}/attn/kv_einsum/w`,
      shape: [L, 2, 1, D, K],
      pieces: each((i) => pair(i, ["self_attn.k_proj", "self_attn.v_proj"], [0], K)),
    },
    {
      name: `${layers}/attn/attn_vec_einsum/w`,
      shape: [L, N, K, D],
      pieces: stack(L, (i) => ({
        source: own(i, "self_attn.o_proj"),
        sourceShape: [D, N * K],
        index: [i],
        split: [[D], [N, K]],
        permutation: [1, 2, 0],
      })),
    },
    norm("pre_ffw_norm", "post_attention_layernorm"),
    {
      name: `${layers}/mlp/gating_einsum`,
      shape: [L, 2, D, F],
      pieces: each((i) => pair(i, ["mlp.gate_proj", "mlp.up_proj"], [], F)),
    },
    {
      name: `${layers}/mlp/linear`,
      shape: [L, F, D],
      pieces: stack(L, (i) => ({
        source: own(i, "mlp.down_proj"),
        sourceShape: [D, F],
        index: [i],
        permutation: [1, 0],
      })),
    },
    {
      name: "PaliGemma/llm/final_norm/scale",
      shape: [D],
      pieces: [{ source: `${names.text}norm.weight`, sourceShape: [D], index: [] }],
    },
  ] satisfies MappedTensor[];
}

/**
 * Plan to read a model from such a file.
 *
 * @param names Where its parts lie.
 * @param stored What the file holds.
 * @param variant The model that is wanted.
 * @param wanted Its backbone, with the model's names; adapters among it are never in such files.
 * @returns The plan; nothing has been checked.
 */
export function planHuggingFace(
  names: HuggingFaceNames,
  stored: readonly StoredTensor[],
  variant: PolicyVariant,
  wanted: readonly TensorShape[],
): LoadPlan {
  const { siglip, gemma } = variant;
  const rows = stored.find(({ name }) => name === names.embedding)?.shape[0] ?? gemma.vocab;
  const storedRows = Math.max(rows, gemma.vocab);
  const mapped = [
    ...visionTensors(siglip, names, gemma.width),
    ...textTensors(gemma, names, storedRows),
  ];
  const missingAdapters = wanted.map(({ name }) => name).filter(isAdapter);
  const pieces = mapped.flatMap((tensor) => tensor.pieces);
  const head = names.head === undefined ? [] : [{
    name: names.head,
    shape: [storedRows, gemma.width],
  }];
  const padding = storedRows - gemma.vocab;
  return {
    mapped,
    wanted: [
      ...pieces.map(({ source, sourceShape }: Piece) => ({ name: source, shape: sourceShape })),
      ...head,
    ],
    found: stored.filter(({ name }) => !NOT_NEEDED.test(name)),
    missingAdapters,
    ...(names.head === undefined ? {} : { tied: [names.embedding, names.head] as const }),
    notes: [
      ...(padding > 0
        ? [`the last ${padding} rows of ${names.embedding} are padding and are left out`]
        : []),
      ...adapterNotes(missingAdapters),
    ],
  };
}

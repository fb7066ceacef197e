/**
 * Gemma decoder: pre-norm blocks of multi-query attention and gated MLP.
 *
 * Source: openpi `src/openpi/models/gemma_fast.py`, `lora.py`. The same block serves training
 * (whole sequence), prefill (whole prefix, keys and values kept) and decoding (one token over a
 * cache); only where keys and values come from differs.
 *
 * @module
 */

import * as tf from "@tensorflow/tfjs";
import type { Tensor, Tensor1D, Tensor2D, Tensor3D, Tensor4D } from "./tensors.ts";
import { attention } from "../kernels/attention_ops.ts";
import { gatedMlp } from "../kernels/gated_mlp_ops.ts";
import { gatedGelu } from "../kernels/gelu_ops.ts";
import { QuantizedMatrix } from "../kernels/quantized_matrix.ts";
import { quantizedMatMul, quantizedRows } from "../kernels/quantized_ops.ts";
import { linear, rmsNorm } from "./layers.ts";
import type { ParameterStore } from "./parameters.ts";
import { recomputed } from "./recompute.ts";
import { applyRope, type Rope } from "./rope.ts";
import type { GemmaSize } from "./variants.ts";

const LAYERS = "PaliGemma/llm/layers";
const ATTENTION = `${LAYERS}/attn`;
const MLP = `${LAYERS}/mlp`;
/** `[V, D]`: words by their ids and, transposed, the output head. */
const EMBEDDING = "PaliGemma/llm/embedder/input_embedding";

/**
 * Token embeddings times √D.
 * @param ids `[B, T]` int32.
 * @returns `[B, T, D]`.
 */
export function embedTokens(
  params: ParameterStore,
  size: GemmaSize,
  ids: Tensor2D,
): Tensor3D {
  const embedding = params.weight(EMBEDDING);
  const flat = tf.reshape(ids, [-1]) as Tensor1D;
  const rows = embedding instanceof QuantizedMatrix
    ? quantizedRows(embedding, flat)
    : tf.gather(embedding, flat);
  return tf.reshape(tf.mul(rows, Math.sqrt(size.width)), [...ids.shape, size.width]) as Tensor3D;
}

/** What a pass over the blocks is given. */
export interface GemmaInput {
  /** `[B, T, D]`. */
  readonly x: Tensor3D;
  /** Rotations of the T positions. */
  readonly rope: Rope;
  /** Additive mask `[1 or B, T, at least keys]`. */
  readonly mask: Tensor3D;
  /**
   * Takes a layer's new keys and values `[B, T, K]` and returns those to attend to.
   * Absent: attention is over the new ones.
   */
  readonly remember?: (layer: number, k: Tensor3D, v: Tensor3D) => [Tensor3D, Tensor3D];
  /** How many places of what `remember` returns are in use; all if absent. */
  readonly keys?: number;
  /**
   * First position whose output somebody reads; the last block computes no other. 0 by default.
   */
  readonly readFrom?: number;
}

/**
 * Run all blocks and the final norm.
 * @returns `[B, T − readFrom, D]`.
 */
export function runGemma(
  params: ParameterStore,
  size: GemmaSize,
  input: GemmaInput,
): Tensor3D {
  const readFrom = input.readFrom ?? 0;
  let x: Tensor = input.x;
  for (let layer = 0; layer < size.depth; layer++) {
    const from = layer === size.depth - 1 ? readFrom : 0;
    x = isRecomputed(params, size, input)
      ? recomputedBlock(params, size, layer, x, input, from)
      : block(params, size, layer, x, input, from);
  }
  return rmsNorm(x, params.get("PaliGemma/llm/final_norm/scale")) as Tensor3D;
}

/**
 * Whether blocks are computed a second time for their gradients. A large model that is trained through
 * weights in few bits has no room for all activations, and all that can be trained in it are the few
 * variables that {@link recomputedBlock} names.
 */
function isRecomputed(params: ParameterStore, size: GemmaSize, input: GemmaInput): boolean {
  return size.lora !== undefined && params.precision !== "float32" && !input.remember;
}

function recomputedBlock(
  params: ParameterStore,
  size: GemmaSize,
  layer: number,
  x: Tensor,
  input: GemmaInput,
  from: number,
): Tensor {
  return recomputed(
    (y, [table, mask]) =>
      block(params, size, layer, y, {
        ...input,
        rope: { ...input.rope, table } as Rope,
        mask: mask as Tensor3D,
      }, from),
    x,
    [input.rope.table, input.mask],
    params.variablesOfLayer(`${LAYERS}/`, layer, size.depth),
  );
}

function block(
  params: ParameterStore,
  size: GemmaSize,
  layer: number,
  x: Tensor,
  input: GemmaInput,
  from: number,
): Tensor {
  const normed = rmsNorm(x, params.get(`${LAYERS}/pre_attention_norm/scale`, layer));
  const seen = selfAttention(params, size, layer, normed, input, from);
  const attended = tf.add(rowsFrom(x, from), seen);
  const hidden = rmsNorm(attended, params.get(`${LAYERS}/pre_ffw_norm/scale`, layer));
  return tf.add(attended, mlp(params, size, layer, hidden));
}

/** Positions `from…` of `[B, T, …]`; x itself when that is all of them. */
function rowsFrom(x: Tensor, from: number): Tensor {
  if (from === 0) return x;
  const begin = x.shape.map((_, axis) => (axis === 1 ? from : 0));
  return tf.slice(x, begin, x.shape.map((n, axis) => n - begin[axis]));
}

function selfAttention(
  params: ParameterStore,
  size: GemmaSize,
  layer: number,
  x: Tensor,
  { rope, mask, remember, keys }: GemmaInput,
  from: number,
): Tensor {
  const { heads: N, headDim: K } = size;
  const [B, T] = x.shape;
  const queries = rowsFrom(x, from);
  const R = T - from;
  const queryRope = { table: rowsFrom(rope.table, from) } as Rope;

  const q = applyRope(project(params, size, "q", layer, queries), queryRope, K ** -0.5);
  let k = applyRope(project(params, size, "k", layer, x), rope) as Tensor3D;
  let v = project(params, size, "v", layer, x) as Tensor3D;
  if (remember) [k, v] = remember(layer, k, v);

  const out = attention(tf.reshape(q, [B, R, N, K]) as Tensor4D, k, v, {
    mask: rowsFrom(mask, from) as Tensor3D,
    keys,
  });
  return project(params, size, "out", layer, tf.reshape(out, [B, R, N * K]));
}

/** A projection of the attention, with its adapter when the variant has one. */
function project(
  params: ParameterStore,
  size: GemmaSize,
  which: "q" | "k" | "v" | "out",
  layer: number,
  x: Tensor,
): Tensor {
  const name = which === "q" ? "q_einsum" : which === "out" ? "attn_vec_einsum" : "kv_einsum";
  const index = which === "k" ? 2 * layer : which === "v" ? 2 * layer + 1 : layer;
  const base = linear(x, params.weight(`${ATTENTION}/${name}/w`, index));
  if (!size.lora) return base;
  const a = params.get(`${ATTENTION}/${name}/lora_a`, index);
  const b = params.get(`${ATTENTION}/${name}/lora_b`, index);
  const scale = size.lora.alpha / size.lora.rank;
  // openpi's einsum gives the query an adapter a head; the output's second factor is summed over heads.
  const low = which === "q"
    ? perHead(x, a, b, size)
    : linear(linear(x, a), which === "out" ? tf.sum(b, 0) : b);
  return tf.add(base, tf.mul(low, scale));
}

/** x `[B, T, D]` through a `[N, D, R]` and b `[N, R, K]` → `[B, T, N·K]`. */
function perHead(x: Tensor, a: Tensor, b: Tensor, size: GemmaSize): Tensor {
  const [B, T, D] = x.shape;
  const rows = tf.reshape(x, [1, B * T, D]) as Tensor3D;
  const low = tf.matMul(tf.tile(rows, [size.heads, 1, 1]), a as Tensor3D);
  const high = tf.matMul(low, b as Tensor3D);
  return tf.reshape(tf.transpose(high, [1, 0, 2]), [B, T, size.heads * size.headDim]);
}

function mlp(
  params: ParameterStore,
  size: GemmaSize,
  layer: number,
  x: Tensor,
): Tensor {
  if (!size.lora) {
    return gatedMlp(x, {
      gate: params.weight(`${MLP}/gating_einsum`, 2 * layer),
      up: params.weight(`${MLP}/gating_einsum`, 2 * layer + 1),
      down: params.weight(`${MLP}/linear`, layer),
    });
  }
  const adapted = (y: Tensor, base: string, lora: string, index: number): Tensor => {
    const out = linear(y, params.weight(`${MLP}/${base}`, index));
    const low = linear(y, params.get(`${MLP}/${lora}_lora_a`, index));
    // openpi scales the adapters of the attention alone (`lora.py`, FeedForward._dot).
    return tf.add(out, linear(low, params.get(`${MLP}/${lora}_lora_b`, index)));
  };
  const gate = adapted(x, "gating_einsum", "gating_einsum", 2 * layer);
  const up = adapted(x, "gating_einsum", "gating_einsum", 2 * layer + 1);
  return adapted(gatedGelu(gate, up), "linear", "linear", layer);
}

/**
 * Weights of the output head for the FAST tokens alone: the head is the transposed embedding, and
 * FAST id f is language id V − 1 − skip − f.
 *
 * Rows are looked up, not sliced and reversed: tfjs's Reverse takes 0.3 ms on WebAssembly for the
 * 256 rows of `tiny`, a third of a decode step, and a lookup 12 µs.
 * @param fastVocab Number of FAST tokens.
 * @param skip Highest language ids left free.
 * @returns `[D, fastVocab]`, in the order of FAST ids; undefined if they are kept in few bits.
 */
export function fastHead(
  params: ParameterStore,
  size: GemmaSize,
  fastVocab: number,
  skip: number,
): Tensor2D | undefined {
  const embedding = params.weight(EMBEDDING);
  if (embedding instanceof QuantizedMatrix) return undefined;
  const ids = Int32Array.from({ length: fastVocab }, (_, f) => size.vocab - 1 - skip - f);
  return tf.transpose(tf.gather(embedding, tf.tensor1d(ids, "int32"))) as Tensor2D;
}

/**
 * Logits over the FAST tokens alone.
 * @param hidden `[B, S, D]`.
 * @param fastVocab Number of FAST tokens.
 * @param skip Highest language ids left free.
 * @param head Their {@link fastHead}, if it was made before with weights that have not changed since.
 * @returns `[B, S, fastVocab]`, in the order of FAST ids.
 */
export function fastLogits(
  params: ParameterStore,
  size: GemmaSize,
  hidden: Tensor3D,
  fastVocab: number,
  skip: number,
  head: Tensor2D | undefined = fastHead(params, size, fastVocab, skip),
): Tensor3D {
  const [B, S, D] = hidden.shape;
  const flat = tf.reshape(hidden, [B * S, D]) as Tensor2D;
  const shape: [number, number, number] = [B, S, fastVocab];
  if (head) return tf.reshape(tf.matMul(flat, head), shape);
  // Rows in few bits lie one behind another, in the reversed order.
  const embedding = params.weight(EMBEDDING) as QuantizedMatrix;
  const firstRow = size.vocab - skip - fastVocab;
  const reversed = quantizedMatMul(flat, embedding, { firstRow, rowCount: fastVocab });
  return tf.reshape(tf.reverse(reversed, 1), shape);
}

/**
 * Logits over the whole language vocabulary.
 * @param hidden `[B, S, D]`.
 * @returns `[B, S, V]`.
 */
export function wordLogits(params: ParameterStore, hidden: Tensor3D): Tensor3D {
  const embedding = params.weight(EMBEDDING);
  const [batch, steps, width] = hidden.shape;
  const flat = tf.reshape(hidden, [batch * steps, width]) as Tensor2D;
  const logits = embedding instanceof QuantizedMatrix
    ? quantizedMatMul(flat, embedding)
    : tf.matMul(flat, embedding as Tensor2D, false, true);
  return tf.reshape(logits, [batch, steps, -1]);
}

/**
 * An engine's adapters (LoRA) on the GPU, in float32 and in the order that checkpoints have: the learner
 * sends new ones between chunks, and writing them is copying.
 *
 * Letters: L layers, D width, F MLP width, N heads, K head width, R rank.
 *
 * @module
 */

import type { GemmaSize } from "../policy/variants.ts";
import type { HostTensor } from "../types.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import { adapterParts, type AdapterSize } from "./wgsl/adapter.ts";

const LAYERS = "PaliGemma/llm/layers";

/** One of a layer's four products. */
export type Product = "qkv" | "out" | "gateUp" | "down";

/** The adapter of a product on the GPU. */
export interface GpuAdapter {
  /** Its sizes: C columns, G segments, W outputs a segment. */
  readonly size: AdapterSize;
  /** `[G, C, R]`. */
  readonly a: GPUBuffer;
  /** `[G, R, W]`. */
  readonly b: GPUBuffer;
}

/** Sizes of the adapters of a model that has some. */
function adapterSizes(gemma: GemmaSize): Record<Product, AdapterSize> | undefined {
  const { width: D, mlpDim: F, heads: N, headDim: K, lora } = gemma;
  if (!lora) return undefined;
  const { rank, alpha } = lora;
  // openpi scales the adapters of the attention alone.
  const attention = { rank, scale: alpha / rank };
  const mlp = { rank, scale: 1 };
  return {
    qkv: { ...attention, columns: D, segments: N + 2, width: K },
    out: { ...attention, columns: N * K, segments: 1, width: D },
    gateUp: { ...mlp, columns: D, segments: 2, width: F },
    down: { ...mlp, columns: F, segments: 1, width: D },
  };
}

/**
 * Shapes of a model's adapters in a checkpoint.
 *
 * @param gemma Sizes.
 * @returns Shapes by path, with openpi's names; none if the model has no adapters.
 */
export function adapterShapes(gemma: GemmaSize): Map<string, readonly number[]> {
  const { width: D, depth: L, mlpDim: F, heads: N, headDim: K, lora } = gemma;
  if (!lora) return new Map();
  const { rank: R } = lora;
  return new Map([
    [`${LAYERS}/attn/q_einsum/lora_a`, [L, N, D, R]],
    [`${LAYERS}/attn/q_einsum/lora_b`, [L, N, R, K]],
    [`${LAYERS}/attn/kv_einsum/lora_a`, [L, 2, 1, D, R]],
    [`${LAYERS}/attn/kv_einsum/lora_b`, [L, 2, 1, R, K]],
    [`${LAYERS}/attn/attn_vec_einsum/lora_a`, [L, N, K, R]],
    [`${LAYERS}/attn/attn_vec_einsum/lora_b`, [L, N, R, D]],
    [`${LAYERS}/mlp/gating_einsum_lora_a`, [L, 2, D, R]],
    [`${LAYERS}/mlp/gating_einsum_lora_b`, [L, 2, R, F]],
    [`${LAYERS}/mlp/linear_lora_a`, [L, F, R]],
    [`${LAYERS}/mlp/linear_lora_b`, [L, R, D]],
  ]);
}

/**
 * Numbers that x·A takes at most, for a token that is decoded and for one of a prefix.
 * @param gemma Sizes.
 */
export function lowCounts(gemma: GemmaSize): { token: number; prefix: number } {
  const sizes = Object.values(adapterSizes(gemma) ?? {});
  const most = (countOf: (size: AdapterSize) => number) => Math.max(1, ...sizes.map(countOf));
  return {
    token: most((size) => size.segments * size.rank * adapterParts(size)),
    prefix: most((size) => size.segments * size.rank),
  };
}

/** The product that an adapter's array belongs to. */
function productOf(name: string): Product {
  if (name.includes("attn_vec_einsum")) return "out";
  if (name.includes("gating_einsum")) return "gateUp";
  return name.includes("linear") ? "down" : "qkv";
}

/** All adapters of a model. Their buffers belong to the {@link GpuBuffers} they came from. */
export class EngineAdapters {
  /** Adapters of each layer's products, layers in order; none if the model has none. */
  readonly layers: readonly Readonly<Record<Product, GpuAdapter>>[];
  /** Shapes of all arrays in a checkpoint, by path. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly #gemma: GemmaSize;
  readonly #device: GPUDevice;

  /**
   * Make room; nothing is written.
   *
   * @param gemma Sizes.
   * @param buffers Owner of the buffers.
   */
  constructor(gemma: GemmaSize, buffers: GpuBuffers) {
    const sizes = adapterSizes(gemma);
    this.#gemma = gemma;
    this.#device = buffers.device;
    this.shapes = adapterShapes(gemma);
    this.layers = !sizes ? [] : Array.from({ length: gemma.depth }, (_, l) => {
      const adapter = (product: Product): GpuAdapter => {
        const size = sizes[product];
        const { segments, columns, rank, width } = size;
        const label = `layer ${l} ${product} adapter`;
        return {
          size,
          a: buffers.storage(`${label} a`, 4 * segments * columns * rank),
          b: buffers.storage(`${label} b`, 4 * segments * rank * width),
        };
      };
      return {
        qkv: adapter("qkv"),
        out: adapter("out"),
        gateUp: adapter("gateUp"),
        down: adapter("down"),
      };
    });
  }

  /** Bytes that a decode step reads of them. */
  get bytesPerToken(): number {
    const all = this.layers.flatMap((layer) => Object.values(layer));
    return all.reduce((sum, { a, b }) => sum + a.size + b.size, 0);
  }

  /**
   * Write an array, whole.
   * @param tensor One of {@link shapes}, checked.
   */
  write({ name, data }: HostTensor): void {
    const product = productOf(name);
    const isA = name.endsWith("lora_a");
    const size = data.length / this.layers.length;
    this.layers.forEach((layer, l) => {
      const { a, b, size: { segments, columns, rank, width } } = layer[product];
      const values = data.subarray(l * size, (l + 1) * size);
      // Keys and values are the last two segments behind the heads of the query.
      const first = name.includes("kv_einsum") ? segments - 2 : 0;
      if (isA) this.#put(a, first * columns * rank, values);
      else this.#put(b, first * rank * width, product === "out" ? this.#overHeads(values) : values);
    });
  }

  #put(buffer: GPUBuffer, at: number, { buffer: from, byteOffset, byteLength }: Float32Array) {
    this.#device.queue.writeBuffer(buffer, 4 * at, from as ArrayBuffer, byteOffset, byteLength);
  }

  /** The output's second factor is summed over heads, as `common/policy/gemma.ts` has it. */
  #overHeads(perHead: Float32Array): Float32Array {
    const sum = new Float32Array(perHead.length / this.#gemma.heads);
    // An output at a time: five times as fast as a head at a time, which writes every sum again.
    for (let i = 0; i < sum.length; i++) {
      let total = 0;
      for (let at = i; at < perHead.length; at += sum.length) total += perHead[at];
      sum[i] = total;
    }
    return sum;
  }
}

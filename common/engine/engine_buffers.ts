/**
 * An engine's working memory, made once: one set for the token that is decoded, one for a prefix.
 *
 * Letters: D width, F MLP width, N heads, K head width, V FAST vocabulary, C capacity, S decode steps,
 * T places of a prefix, G segments, P parts and R rank of an adapter. Rows of activations are padded to 32 numbers; the padding stays zero.
 *
 * @module
 */

import { ROPE_MAX_WAVELENGTH } from "../policy/variants.ts";
import { lowCounts } from "./engine_adapters.ts";
import { capacityOf, criticSteps, type EngineModel } from "./engine_model.ts";
import type { GpuBuffers } from "./gpu_buffers.ts";
import { paddedColumns } from "./packed_rows.ts";
import { SPLIT_KEYS } from "./wgsl/attend_split.ts";
import { grammarWords } from "./wgsl/grammar.ts";
import { DECODE_STATE, PLACES_HEADER_WORDS } from "./wgsl/shared.ts";

/** Buffers of one token. */
export interface TokenBuffers {
  /** `[D]`: the residual stream. */
  readonly x: GPUBuffer;
  /** `[N, K]`: queries. */
  readonly q: GPUBuffer;
  /** `[N · K]`: what attention found. */
  readonly attended: GPUBuffer;
  /** `[F]`: gate times up. */
  readonly gated: GPUBuffer;
  /** `[G, P, R]`: what adapters make of the input of a product. */
  readonly low: GPUBuffer;
}

/** All buffers but weights. */
export interface EngineBuffers {
  /** Of the token that is decoded. */
  readonly token: TokenBuffers;
  /** Of the T places of a prefix: the same with T rows. */
  readonly prefix: TokenBuffers & { readonly normed: GPUBuffer };
  /** `[2, C, K]` a layer: keys, then values. */
  readonly caches: readonly GPUBuffer[];
  /** `[C + 1, K / 2]` of (cos, sin), by rotary position. */
  readonly rope: GPUBuffer;
  /** Where every place stands; see `PLACES`. */
  readonly places: GPUBuffer;
  /** How many text tokens of the prefix, the place of the first, and their ids. */
  readonly ids: GPUBuffer;
  /** The same for the one token that decoding begins with. */
  readonly firstId: GPUBuffer;
  /** Decode state; see `DECODE_STATE`. */
  readonly state: GPUBuffer;
  /** The state that decoding began with. */
  readonly startState: GPUBuffer;
  /** Uniform: 1 / temperature, and whether to take the best. */
  readonly choice: GPUBuffer;
  /** `[S]`: numbers in [0, 1) to draw with. */
  readonly uniforms: GPUBuffer;
  /** Tables of the chunk grammar. */
  readonly grammar: GPUBuffer;
  /** `[V]`. */
  readonly logits: GPUBuffer;
  /** `[splits, N, K]`: attention of runs of keys. */
  readonly partial: GPUBuffer;
  /** `[splits, N]`: greatest score and sum of weights of each run. */
  readonly stats: GPUBuffer;
  /** `[S]` of token, log-probability, entropy, 0. */
  readonly outcomes: GPUBuffer;
  /** `[n, D]`: normalised states of the first n steps. */
  readonly hidden: GPUBuffer;
  /** Where state, value and outcomes are copied to be read, taken in turns. */
  readonly staging: readonly GPUBuffer[];
}

/** Copies of results that may be on their way to the host at once. */
const STAGING_COUNT = 2;

/** Bytes of a decode state. */
export const STATE_BYTES: number = 4 * DECODE_STATE.length;

/** Bytes of the critic's value. */
export const VALUE_BYTES = 4;

/** Bytes of a step's outcome. */
export const OUTCOME_BYTES = 16;

/** cos and sin by position: computed here, where angles of a thousand turns lose nothing. */
function ropeTable(positions: number, headDim: number): Float32Array<ArrayBuffer> {
  const half = headDim / 2;
  const table = new Float32Array(positions * headDim);
  for (let p = 0; p < positions; p++) {
    for (let j = 0; j < half; j++) {
      const angle = p / ROPE_MAX_WAVELENGTH ** (j / half);
      table[2 * (p * half + j)] = Math.cos(angle);
      table[2 * (p * half + j) + 1] = Math.sin(angle);
    }
  }
  return table;
}

/**
 * Make an engine's working memory.
 *
 * @param model Sizes.
 * @param buffers Owner of what is made.
 * @throws {RangeError} If the device takes no buffer so large.
 */
export function createEngineBuffers(model: EngineModel, buffers: GpuBuffers): EngineBuffers {
  const { gemma: { width: D, mlpDim: F, heads: N, headDim: K, depth: L }, grammar } = model;
  const capacity = capacityOf(model);
  const splits = Math.ceil(capacity / SPLIT_KEYS);
  const { queue } = buffers.device;
  const floats = (label: string, count: number) => buffers.storage(label, 4 * count);
  const holding = (label: string, data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>) => {
    const buffer = buffers.storage(label, data.byteLength);
    queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const activations = (label: string, rows: number, lowCount: number): TokenBuffers => ({
    x: floats(`${label} x`, rows * paddedColumns(D)),
    q: floats(`${label} q`, rows * N * K),
    attended: floats(`${label} attended`, rows * paddedColumns(N * K)),
    gated: floats(`${label} gated`, rows * paddedColumns(F)),
    low: floats(`${label} low`, rows * lowCount),
  });
  const { MAP_READ, COPY_DST } = GPUBufferUsage;
  const resultBytes = STATE_BYTES + VALUE_BYTES + model.maxTextTokens * OUTCOME_BYTES;
  const low = lowCounts(model.gemma);
  return {
    token: activations("token", 1, low.token),
    prefix: {
      ...activations("prefix", capacity, low.prefix),
      normed: floats("prefix normed", capacity * paddedColumns(D)),
    },
    caches: Array.from({ length: L }, (_, l) => floats(`cache ${l}`, 2 * capacity * K)),
    rope: holding("rope", ropeTable(capacity + 1, K)),
    places: floats("places", PLACES_HEADER_WORDS + 2 * capacity),
    ids: floats("ids", 2 + model.maxTextTokens),
    firstId: floats("first id", 3),
    state: buffers.uniform("state", new Array(DECODE_STATE.length).fill(0)),
    startState: floats("start state", DECODE_STATE.length),
    choice: buffers.uniform("choice", [0, 0, 0, 0]),
    uniforms: floats("uniforms", model.maxTextTokens),
    grammar: holding("grammar", grammarWords(grammar.tables())),
    logits: floats("logits", paddedColumns(grammar.vocabSize)),
    partial: floats("partial", splits * N * K),
    stats: floats("stats", splits * N * 2),
    outcomes: buffers.storage("outcomes", model.maxTextTokens * OUTCOME_BYTES),
    hidden: floats("hidden", Math.max(1, criticSteps(model)) * D),
    staging: Array.from(
      { length: STAGING_COUNT },
      (_, i) => buffers.create(`staging ${i}`, resultBytes, MAP_READ | COPY_DST),
    ),
  };
}

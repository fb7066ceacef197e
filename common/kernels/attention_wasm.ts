/**
 * Attention over a cache for tfjs's WebAssembly backend.
 *
 * Scores are made for some rows of queries at a time, in a scratch that stays in the processor's caches:
 * softmax and the next product find them there, and no tensor of all scores is ever kept. The
 * gradient makes them anew. Keys are transposed first, so that vectors run along the keys.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  ATTENTION,
  ATTENTION_GRADIENT,
  type AttentionArgs,
  type AttentionGradientArgs,
  type AttentionInputs,
  type AttentionSizes,
  attentionSizes,
  CACHE_WRITE,
  type CacheWriteArgs,
} from "./attention_kernel.ts";
import { attentionLoops } from "./attention_simd.ts";
import type { Strided } from "./matrix_loops.ts";
import type { KernelTable } from "./register_kernels.ts";
import type { WasmBackend } from "./wasm_backend.ts";

/** Scores made at a time: 128 KiB, which a core's second cache holds beside what they are made of. */
const TILE_NUMBERS = 1 << 15;
/** Keys of a row in the scratch come in blocks of so many, as the product makes them. */
const KEY_BLOCK = 8;

/** The kernels by their names. */
export const ATTENTION_WASM: KernelTable = {
  [ATTENTION]: attention,
  [ATTENTION_GRADIENT]: attentionGradient,
  [CACHE_WRITE]: cacheWrite,
};

const offsetOf = (backend: WasmBackend, x: TensorInfo) =>
  backend.dataIdMap.get(x.dataId).memoryOffset;

/** Some rows of queries of one row of the batch. */
interface Tile {
  /** Number of its first query, N a place. */
  readonly from: number;
  /** Places, and rows: N a place. */
  readonly places: number;
  /** N · places. */
  readonly rows: number;
  /** Where its queries begin; so do its outputs, in their own tensor. */
  readonly byte: number;
}

/** What the steps of both kernels share. */
class Attention {
  readonly sizes: AttentionSizes;
  /** Keys of a row in the scratch. */
  readonly padded: number;
  /** Bytes of a row of scores, and of a row of queries, keys or values. */
  readonly scoreRow: number;
  readonly headRow: number;
  readonly tilePlaces: number;
  readonly loops: ReturnType<typeof attentionLoops>;
  readonly #q: number;
  readonly #mask: number;

  constructor(backend: WasmBackend, inputs: AttentionInputs, keys: number) {
    this.sizes = attentionSizes(inputs, { keys });
    const { places, heads, width } = this.sizes;
    this.padded = Math.ceil(keys / KEY_BLOCK) * KEY_BLOCK;
    this.scoreRow = 4 * this.padded;
    this.headRow = 4 * width;
    const fitting = Math.max(1, Math.floor(TILE_NUMBERS / (heads * this.padded)));
    this.tilePlaces = Math.min(places, fitting);
    this.loops = attentionLoops(backend.wasm.asm.memory);
    this.#q = offsetOf(backend, inputs.q);
    this.#mask = offsetOf(backend, inputs.mask);
  }

  /** Numbers of a transposed cache row, and of a tile's scores. */
  get scratch(): { readonly turned: number; readonly tile: number } {
    const { heads, width } = this.sizes;
    return { turned: width * this.padded, tile: this.tilePlaces * heads * this.padded };
  }

  /** Byte at which a row of the batch begins in k and v. */
  cacheByte(b: number): number {
    return b * this.sizes.capacity * this.headRow;
  }

  *tiles(b: number): Generator<Tile> {
    const { places, heads } = this.sizes;
    for (let from = 0; from < places; from += this.tilePlaces) {
      const count = Math.min(this.tilePlaces, places - from);
      const byte = (b * places + from) * heads * this.headRow;
      yield { from, places: count, rows: count * heads, byte };
    }
  }

  /** Keys or values of one row of the batch, `[keys, K]`, turned to `[K, keys]`. */
  turn(from: number, to: number): void {
    const { keys, width } = this.sizes;
    this.loops.transpose(from, { at: to, row: this.scoreRow }, keys, width);
  }

  /** `x · turned`: a tile's `[rows, K]` by `[K, keys]`. */
  score(x: number, turned: number, scores: number, { rows }: Tile): void {
    const { loops, headRow, scoreRow, padded, sizes } = this;
    loops.multiply(
      { at: x, row: headRow },
      { at: turned, row: scoreRow },
      { at: scores, row: scoreRow },
      { rows, columns: padded, inner: sizes.width },
    );
  }

  /** The softmax of a tile's scores. */
  weigh(b: number, turnedKeys: number, weights: number, tile: Tile): void {
    const { keys, heads, maskBatchStride, maskPlaceStride } = this.sizes;
    this.score(this.#q + tile.byte, turnedKeys, weights, tile);
    const mask = this.#mask + 4 * (b * maskBatchStride + tile.from * maskPlaceStride);
    this.loops.softmax(
      { at: weights, row: this.scoreRow },
      { at: mask, row: 4 * maskPlaceStride },
      { groups: tile.places, group: heads, count: keys },
    );
  }

  /** `weights · x`: a tile's `[rows, keys]` by `[keys, K]`. */
  gather(weights: number, x: number, to: number, { rows }: Tile): void {
    const { loops, headRow, scoreRow, sizes: { width, keys } } = this;
    loops.multiply(
      { at: weights, row: scoreRow },
      { at: x, row: headRow },
      { at: to, row: headRow },
      { rows, columns: width, inner: keys },
    );
  }

  /** `to += weightsᵀ · x`: a tile's `[keys, rows]` by `[rows, K]`. */
  scatter(weights: number, x: number, to: number, { rows }: Tile): void {
    const { loops, headRow, scoreRow, sizes: { width, keys } } = this;
    loops.multiply(
      { at: weights, row: scoreRow, isTurned: true },
      { at: x, row: headRow },
      { at: to, row: headRow },
      { rows: keys, columns: width, inner: rows },
      true,
    );
  }
}

function attention({ inputs, attrs, backend }: AttentionArgs<WasmBackend>): TensorInfo {
  const out = backend.makeOutput(inputs.q.shape, "float32");
  const work = new Attention(backend, inputs, attrs.keys);
  const { turned, tile } = work.scratch;
  const scratch = backend.makeOutput([turned + tile], "float32");
  const turnedKeys = offsetOf(backend, scratch);
  const weights = turnedKeys + 4 * turned;
  const [k, v, to] = [inputs.k, inputs.v, out].map((x) => offsetOf(backend, x));
  for (let b = 0; b < work.sizes.batch; b++) {
    const cache = work.cacheByte(b);
    work.turn(k + cache, turnedKeys);
    for (const tile of work.tiles(b)) {
      work.weigh(b, turnedKeys, weights, tile);
      work.gather(weights, v + cache, to + tile.byte, tile);
    }
  }
  backend.disposeData(scratch.dataId);
  return out;
}

function attentionGradient(args: AttentionGradientArgs<WasmBackend>): TensorInfo[] {
  const { inputs, attrs, backend } = args;
  const outputs = [inputs.q, inputs.k, inputs.v].map((x) => backend.makeOutput(x.shape, "float32"));
  const work = new Attention(backend, inputs, attrs.keys);
  const { turned, tile } = work.scratch;
  const scratch = backend.makeOutput([2 * turned + 2 * tile], "float32");
  // Taken behind the last makeOutput, which may have grown the memory.
  outputs.slice(1).forEach((x) => backend.typedArrayFromHeap(x).fill(0));
  const turnedKeys = offsetOf(backend, scratch);
  const turnedValues = turnedKeys + 4 * turned;
  const weights = turnedValues + 4 * turned;
  const gradient = weights + 4 * tile;
  const [q, k, v, dy] = [inputs.q, inputs.k, inputs.v, inputs.dy].map((x) => offsetOf(backend, x));
  const [dq, dk, dv] = outputs.map((x) => offsetOf(backend, x));
  for (let b = 0; b < work.sizes.batch; b++) {
    const cache = work.cacheByte(b);
    work.turn(k + cache, turnedKeys);
    work.turn(v + cache, turnedValues);
    for (const tile of work.tiles(b)) {
      work.weigh(b, turnedKeys, weights, tile);
      work.scatter(weights, dy + tile.byte, dv + cache, tile);
      work.score(dy + tile.byte, turnedValues, gradient, tile);
      const [of, to] = [weights, gradient].map((at): Strided => ({ at, row: work.scoreRow }));
      work.loops.softmaxGradient(of, to, tile.rows, attrs.keys);
      work.gather(gradient, k + cache, dq + tile.byte, tile);
      work.scatter(gradient, q + tile.byte, dk + cache, tile);
    }
  }
  backend.disposeData(scratch.dataId);
  return outputs;
}

/**
 * XNNPACK keeps the packed form of a product's second operand under its id: a tensor that this writes
 * into must not be one.
 */
function cacheWrite({ inputs, attrs, backend }: CacheWriteArgs<WasmBackend>): TensorInfo[] {
  const [batch, capacity, width] = inputs.cache.shape;
  const cache = backend.typedArrayFromHeap(inputs.cache);
  const x = backend.typedArrayFromHeap(inputs.x);
  for (let b = 0; b < batch; b++) {
    const row = x.subarray(b * width, (b + 1) * width);
    cache.set(row, (b * capacity + attrs.position) * width);
  }
  return [];
}

/**
 * Attention over a cache for tfjs's cpu backend: the definition that the others are held to. Every sum
 * is in float64.
 *
 * @module
 */

import type { TensorInfo } from "../policy/tensors.ts";
import {
  ATTENTION,
  ATTENTION_GRADIENT,
  type AttentionArgs,
  type AttentionGradientArgs,
  attentionSizes,
  CACHE_WRITE,
  type CacheWriteArgs,
} from "./attention_kernel.ts";
import { type CpuBackend, valuesOf } from "./cpu_backend.ts";
import type { KernelTable } from "./register_kernels.ts";

/** The kernels by their names. */
export const ATTENTION_CPU: KernelTable = {
  [ATTENTION]: attention,
  [ATTENTION_GRADIENT]: attentionGradient,
  [CACHE_WRITE]: cacheWrite,
};

/** One row of queries: where it begins, where its row of the batch begins in k and v, and its weights. */
interface Row {
  readonly query: number;
  readonly cache: number;
  /** `[keys]`: softmax of its scores; overwritten by the next row's. */
  readonly weights: Float64Array;
}

/** Every row of queries with its softmax. */
function* rowsOf({ inputs, attrs, backend }: AttentionArgs<CpuBackend>): Generator<Row> {
  const sizes = attentionSizes(inputs, attrs);
  const { batch, places, heads, width, capacity, keys } = sizes;
  const [q, k, mask] = [inputs.q, inputs.k, inputs.mask].map((x) => valuesOf(backend, x));
  const weights = new Float64Array(keys);
  for (let b = 0; b < batch; b++) {
    const cache = b * capacity * width;
    for (let row = 0; row < places * heads; row++) {
      const query = (b * places * heads + row) * width;
      const place = Math.floor(row / heads);
      const masked = b * sizes.maskBatchStride + place * sizes.maskPlaceStride;
      let top = -Infinity;
      for (let j = 0; j < keys; j++) {
        let score = 0;
        for (let c = 0; c < width; c++) score += q[query + c] * k[cache + j * width + c];
        // As in float32, where a score vanishes beside what masks it: all of a row that is masked
        // as a whole weigh the same.
        weights[j] = Math.fround(Math.fround(score) + mask[masked + j]);
        top = Math.max(top, weights[j]);
      }
      let sum = 0;
      for (let j = 0; j < keys; j++) sum += weights[j] = Math.exp(weights[j] - top);
      for (let j = 0; j < keys; j++) weights[j] /= sum;
      yield { query, cache, weights };
    }
  }
}

function attention(args: AttentionArgs<CpuBackend>): TensorInfo {
  const { inputs, attrs, backend } = args;
  const width = inputs.q.shape[3];
  const v = valuesOf(backend, inputs.v);
  const out = new Float64Array(valuesOf(backend, inputs.q).length);
  for (const { query, cache, weights } of rowsOf(args)) {
    for (let j = 0; j < attrs.keys; j++) {
      for (let c = 0; c < width; c++) out[query + c] += weights[j] * v[cache + j * width + c];
    }
  }
  return backend.makeTensorInfo(inputs.q.shape, "float32", Float32Array.from(out));
}

function attentionGradient(args: AttentionGradientArgs<CpuBackend>): TensorInfo[] {
  const { inputs, attrs: { keys }, backend } = args;
  const width = inputs.q.shape[3];
  const [q, k, v, dy] = [inputs.q, inputs.k, inputs.v, inputs.dy].map((x) => valuesOf(backend, x));
  const [dq, dk, dv] = [q, k, v].map((x) => new Float64Array(x.length));
  const dWeights = new Float64Array(keys);
  for (const { query, cache, weights } of rowsOf(args)) {
    let mean = 0;
    for (let j = 0; j < keys; j++) {
      const at = cache + j * width;
      let sum = 0;
      for (let c = 0; c < width; c++) {
        sum += dy[query + c] * v[at + c];
        dv[at + c] += weights[j] * dy[query + c];
      }
      dWeights[j] = sum;
      mean += weights[j] * sum;
    }
    for (let j = 0; j < keys; j++) {
      const at = cache + j * width;
      const dScore = weights[j] * (dWeights[j] - mean);
      for (let c = 0; c < width; c++) {
        dq[query + c] += dScore * k[at + c];
        dk[at + c] += dScore * q[query + c];
      }
    }
  }
  const made = (like: TensorInfo, values: Float64Array) =>
    backend.makeTensorInfo(like.shape, "float32", Float32Array.from(values));
  return [made(inputs.q, dq), made(inputs.k, dk), made(inputs.v, dv)];
}

function cacheWrite({ inputs, attrs, backend }: CacheWriteArgs<CpuBackend>): TensorInfo[] {
  const [batch, capacity, width] = inputs.cache.shape;
  const cache = valuesOf(backend, inputs.cache);
  const x = valuesOf(backend, inputs.x);
  for (let b = 0; b < batch; b++) {
    const row = x.subarray(b * width, (b + 1) * width);
    cache.set(row, (b * capacity + attrs.position) * width);
  }
  return [];
}
